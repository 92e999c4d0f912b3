"""Autoscaling on real CPU load, and draining within a budget, by the stock kubectl."""

from __future__ import annotations

import json
import subprocess

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

BURN = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: burn}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: burn}}}}
  template:
    metadata: {{labels: {{app: burn}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: {image}
          args: ["-c", "while [ ! -e /tmp/stop ]; do :; done; exec busybox sleep 3600"]
          resources: {{requests: {{cpu: 20m}}, limits: {{cpu: 60m}}}}
"""
BEHAVIOR = {"scaleDown": {"stabilizationWindowSeconds": 0}, "scaleUp": {"stabilizationWindowSeconds": 0}}
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: {image}
          args: ["-c", "exec busybox sleep 3600"]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{minAvailable: 1, selector: {{matchLabels: {{app: web}}}}}}
"""


def test_a_drain_waits_for_the_budget(engine: Machine, images: Images) -> None:
    engine.apply(WEB.format(image=images.tools))
    engine.kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    until(lambda: engine.get("pdb", "web")["status"].get("disruptionsAllowed") == 1, "one may go")
    assert engine.kubectl("get", "pdb", "web", "--no-headers").split()[:4] == ["web", "1", "N/A", "1"]
    (node,) = (item["metadata"]["name"] for item in engine.get("nodes")["items"])
    before = {pod["metadata"]["name"] for pod in engine.pods("-l", "app=web")}
    # One pod goes, nothing takes its place on a cordoned node, and the other has to stay.
    drain = engine.start_kubectl(
        "drain", node, "--pod-selector=app=web", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    until(lambda: len(running(engine) & before) == 1, "one is evicted")
    until(lambda: engine.get("pdb", "web")["status"]["disruptionsAllowed"] == 0, "no other may go")
    described = engine.kubectl("describe", "pdb", "web")
    assert "Min available:  1" in described
    assert "Allowed disruptions:  0" in described
    engine.kubectl("uncordon", node)
    said = drain.communicate(timeout=60)[0].decode()
    assert drain.returncode == 0, said
    assert "Cannot evict pod as it would violate the pod's disruption budget." in said
    assert f"node/{node} drained" in said
    until(lambda: len(running(engine)) == 2 and not running(engine) & before, "two others run")
    engine.kubectl("delete", "deploy/web", "pdb/web", "--wait=false")


def running(engine: Machine) -> set[str]:
    pods = engine.pods("-l", "app=web", "--field-selector=status.phase=Running")
    return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def test_load_brings_replicas_and_takes_them_away(engine: Machine, images: Images) -> None:
    engine.apply(BURN.format(image=images.tools))
    engine.kubectl("rollout", "status", "deploy/burn", "--timeout=30s")
    engine.kubectl("autoscale", "deploy/burn", "--cpu=100%", "--min=1", "--max=3")
    engine.kubectl("patch", "hpa", "burn", "--type=merge", "-p", json.dumps({"spec": {"behavior": BEHAVIOR}}))
    until(lambda: engine.get("deploy", "burn")["status"].get("readyReplicas") == 3, "it has grown", 90)
    shown = engine.kubectl("get", "hpa", "burn", "--no-headers").split()
    assert shown[:2] == ["burn", "Deployment/burn"]
    assert shown[2] == "cpu:"
    assert shown[3].endswith("%/100%")
    described = engine.kubectl("describe", "hpa", "burn")
    assert "resource cpu on pods  (as a percentage of request):" in described
    assert "AbleToScale" in described
    assert "reason: cpu resource utilization (percentage of request) above target" in described
    for pod in engine.pods("-l", "app=burn"):
        engine.kubectl("exec", pod["metadata"]["name"], "--", "busybox", "touch", "/tmp/stop")
    until(lambda: engine.get("deploy", "burn")["spec"]["replicas"] == 1, "it has shrunk", 90)
    assert "All metrics below target" in engine.kubectl("describe", "hpa", "burn")
    engine.kubectl("delete", "hpa,deploy", "burn", "--wait=false")
