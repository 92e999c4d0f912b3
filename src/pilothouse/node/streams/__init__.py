"""What clients stream from and to running pods: logs, exec, attach, port-forward."""
