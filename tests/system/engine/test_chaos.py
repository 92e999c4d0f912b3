"""Rollouts of real containers while the engine's processes are killed at random moments."""

from __future__ import annotations

import json
import random
import time

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = [pytest.mark.system, pytest.mark.slow]

WORKLOADS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: main, image: {image}, args: ["-c", "exec busybox sleep 3600"], env: [{{name: ROUND, value: "0"}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 2
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: main, image: {image}, args: ["-c", "exec busybox sleep 3600"], env: [{{name: ROUND, value: "0"}}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{maxUnavailable: 1, selector: {{matchLabels: {{app: web}}}}}}
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rollouts_end_where_they_should_whoever_is_killed_when(engine: Machine, images: Images, seed: int) -> None:
    chance = random.Random(seed)
    engine.apply(WORKLOADS.format(image=images.tools))
    for round_ in range(1, 7):
        env = f"ROUND={seed}-{round_}"
        until(lambda env=env: engine.kubectl("set", "env", "deploy/web", "sts/db", env), "the API takes it", 60)
        time.sleep(chance.random() * 2)
        engine.kill(chance.choice(["control", "node", "containerd", "control"]))
    engine.wait_ready(60)
    for workload in ("deploy/web", "sts/db"):
        until(
            lambda name=workload: engine.kubectl("rollout", "status", name, "--timeout=5s"), f"{workload} is done", 120
        )
    pods = until(lambda: settled(engine), "only what is wanted is left", 60)
    said = {pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods}
    assert said == {f"{seed}-6"}
    active = [rs for rs in engine.get("rs", "-l", "app=web")["items"] if rs["spec"]["replicas"]]
    assert [rs["spec"]["replicas"] for rs in active] == [3]
    assert sorted(p["metadata"]["name"] for p in pods if p["metadata"]["labels"]["app"] == "db") == ["db-0", "db-1"]
    until(lambda: engine.get("pdb", "web")["status"].get("disruptionsAllowed") == 1, "the budget is whole", 30)
    assert json.loads(engine.pilothouse("status", "-o", "json"))["problems"] == []


def settled(engine: Machine) -> list[dict[str, object]]:
    """All pods, once there are five and all run."""
    pods = engine.pods("-l", "app in (web,db)")
    fine = [p for p in pods if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]]
    return pods if len(pods) == len(fine) == 5 else []
