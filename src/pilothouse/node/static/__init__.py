"""Static pods: those whose manifests lie in a folder of the node."""
