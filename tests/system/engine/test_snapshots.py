"""A snapshot of a running pod's volume, restored into another with kubectl, while the node is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[3] / "examples" / "volume-snapshots"
POD = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 100Mi}}}}{source}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args: ["-c", "trap 'exit 0' TERM; sleep 1d & wait"]
      volumeMounts: [{{name: data, mountPath: /data}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {name}}}}}]
"""
SNAPSHOT = """\
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: one}
spec: {source: {persistentVolumeClaimName: data}}
"""


def start(engine: Machine, images: Images, name: str, source: str = "") -> None:
    engine.apply(POD.format(name=name, image=images.tools, source=source))
    engine.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", seconds=70)


def test_a_snapshot_is_taken_restored_and_deleted(engine: Machine, images: Images) -> None:
    start(engine, images, "data")
    write = "busybox mkdir /data/below && echo first > /data/below/file && busybox ln -s /etc/shadow /data/link"
    engine.kubectl("exec", "data", "--", "sh", "-c", write)
    for name in ("definitions.yaml", "class.yaml"):
        until(lambda name=name: not engine.kubectl("apply", "-f", str(EXAMPLES / name), code=None).count("error"), name)
    engine.apply(SNAPSHOT)
    engine.kill("node")
    engine.kubectl("wait", "--for=jsonpath={.status.readyToUse}=true", "vs/one", "--timeout=60s", seconds=70)
    engine.kubectl("exec", "data", "--", "sh", "-c", "echo second > /data/below/file")
    snapshot = ", dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: one}"
    start(engine, images, "restored", snapshot)
    start(engine, images, "copied", ", dataSource: {kind: PersistentVolumeClaim, name: data}")
    cat = ("--", "busybox", "cat", "/data/below/file")
    read = {pod: engine.kubectl("exec", pod, *cat) for pod in ("restored", "copied")}
    assert read == {"restored": "first\n", "copied": "second\n"}
    volumes = engine.data_dir / "volumes"
    (kept,) = volumes.glob("snapcontent-*")
    assert (kept / "link").is_symlink()
    engine.kubectl("delete", "vs", "one")
    assert not kept.exists()
    engine.kubectl("delete", "pod", "data", "restored", "copied")
    engine.kubectl("delete", "pvc", "data", "restored", "copied")
    until(lambda: list(volumes.iterdir()) == [], "nothing is left of the volumes")
