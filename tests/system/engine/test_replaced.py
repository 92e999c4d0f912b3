"""An engine without its scheduler: pods wait for whoever takes its place with the credentials made for it."""

from __future__ import annotations

import json

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: waits}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: {image}, args: ["-c", "exec busybox sleep 3600"]}}]
"""


def test_somebody_elses_scheduler(machine: Machine, images: Images) -> None:
    told = machine.up("--without", "schedular", code=1)
    assert "did you mean scheduler?" in told
    machine.up("--without", "scheduler")
    theirs = str(machine.data_dir / "kube-scheduler.kubeconfig")
    machine.apply(POD.format(image=images.tools))
    (node,) = (item["metadata"]["name"] for item in machine.get("nodes")["items"])
    assert machine.get("pod", "waits")["status"]["phase"] == "Pending"
    assert "nodeName" not in machine.get("pod", "waits")["spec"]
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "waits"}, "target": target}
    path = "/api/v1/namespaces/default/pods/waits/binding"
    machine.kubectl("--kubeconfig", theirs, "create", "--raw", path, "-f", "-", stdin=json.dumps(binding))
    until(lambda: machine.get("pod", "waits")["status"]["phase"] == "Running", "it runs where it was put")
    refused = machine.kubectl("--kubeconfig", theirs, "get", "secrets", code=1)
    assert 'User "system:kube-scheduler" cannot list resource "secrets"' in refused
    # The engine's own takes over again, and the credentials are gone.
    machine.pilothouse("stop")
    machine.up("--without", "nothing")
    assert not (machine.data_dir / "kube-scheduler.kubeconfig").exists()
    machine.kubectl("delete", "pod", "waits")
    machine.apply(POD.format(image=images.tools))
    until(lambda: machine.get("pod", "waits")["status"]["phase"] == "Running", "the engine schedules again")
