"""A StatefulSet with volumes and a DaemonSet with real containers, by kubectl and by `deploy`."""

from __future__ import annotations

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

DB = """\
apiVersion: v1
kind: Service
metadata: {{name: db}}
spec: {{clusterIP: None, selector: {{app: db}}, ports: [{{port: 80}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  replicas: 2
  selector: {{matchLabels: {{app: db}}}}
  persistentVolumeClaimRetentionPolicy: {{whenDeleted: Delete, whenScaled: Retain}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: {image}
          args: ["-c", "echo $HOSTNAME started >> /data/log; cat /data/log; exec sleep 100000"]
          env: [{{name: VERSION, value: "1"}}]
          readinessProbe: {{exec: {{command: [sh, -c, "[ -s /data/log ]"]}}, periodSeconds: 1}}
          volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Mi}}}}}}
"""
AGENT = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: {image}
          args: ["-c", "exec sleep 100000"]
          volumeMounts: [{{name: scratch, mountPath: /scratch}}]
      volumes:
        - name: scratch
          ephemeral:
            volumeClaimTemplate:
              spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Mi}}}}}}
"""


def version(machine: Machine, pod: str) -> str:
    return str(machine.get("pod", pod)["spec"]["containers"][0]["env"][0]["value"])


def test_a_stateful_set_keeps_names_and_data(engine: Machine, images: Images) -> None:
    engine.apply(DB.format(image=images.tools))
    status = ("rollout", "status", "statefulset/db", "--timeout=60s")
    engine.kubectl(*status, seconds=70)
    assert engine.kubectl("get", "sts", "db", "--no-headers").split()[:2] == ["db", "2/2"]
    assert engine.kubectl("logs", "db-1").splitlines() == ["db-1 started"]

    engine.kubectl("set", "env", "statefulset/db", "VERSION=2")
    assert "roll out complete: 2 new pods" in engine.kubectl(*status, seconds=70)
    assert [version(engine, pod) for pod in ("db-0", "db-1")] == ["2", "2"]
    assert engine.kubectl("logs", "db-1").splitlines() == ["db-1 started"] * 2

    history = engine.kubectl("rollout", "history", "statefulset/db").split()
    assert history[-4:] == ["1", "<none>", "2", "<none>"]
    assert "rolled back" in engine.kubectl("rollout", "undo", "statefulset/db")
    engine.kubectl(*status, seconds=70)
    assert [version(engine, pod) for pod in ("db-0", "db-1")] == ["1", "1"]
    engine.kubectl("rollout", "restart", "statefulset/db")
    engine.kubectl(*status, seconds=70)

    engine.kubectl("scale", "statefulset/db", "--replicas=1")
    until(lambda: len(engine.pods("-l", "app=db")) == 1, "one pod is left")
    assert len(engine.get("pvc", "-l", "app=db")["items"]) == 2
    engine.kubectl("delete", "statefulset/db", "--cascade=foreground")
    until(lambda: not engine.get("pvc", "-l", "app=db")["items"], "its claims are gone")
    assert not engine.pods("-l", "app=db")


def test_a_daemon_set_runs_on_the_node(engine: Machine, images: Images) -> None:
    engine.apply(AGENT.format(image=images.tools))
    status = ("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert "successfully rolled out" in engine.kubectl(*status, seconds=70)
    (pod,) = engine.pods("-l", "app=agent")
    assert pod["spec"]["nodeName"] == engine.name
    engine.kubectl("get", "pvc", f"{pod['metadata']['name']}-scratch")

    engine.kubectl("rollout", "restart", "daemonset/agent")
    engine.kubectl(*status, seconds=70)
    assert "skipped" not in engine.kubectl("rollout", "undo", "daemonset/agent")
    engine.kubectl(*status, seconds=70)
    engine.kubectl("delete", "daemonset/agent", "--cascade=orphan")
    (orphan,) = engine.pods("-l", "app=agent")
    engine.apply(AGENT.format(image=images.tools))
    engine.kubectl(*status, seconds=70)
    assert [p["metadata"]["uid"] for p in engine.pods("-l", "app=agent")] == [orphan["metadata"]["uid"]]
    engine.kubectl("delete", "daemonset/agent")
    until(lambda: not engine.pods("-l", "app=agent"), "its pod is gone")


def test_deploy_waits_and_says_why_not(engine: Machine, images: Images) -> None:
    said = engine.pilothouse(
        "deploy", "-", stdin=DB.format(image=images.tools) + "---\n" + AGENT.format(image=images.tools)
    )
    assert "2 of 2 workloads are ready." in said
    broken = DB.format(image="127.0.0.1:5000/none:1")
    said = engine.pilothouse("deploy", "-", "--timeout", "60", stdin=broken, code=1)
    assert "statefulset/db" in said
    assert "does not exist" in said
    engine.kubectl("delete", "statefulset/db", "daemonset/agent", "service/db")
