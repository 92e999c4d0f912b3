"""A CSI driver's volume on an engine: a pod writes to it, the node is killed while the driver works, nothing stays."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine, until

import pilothouse
from pilothouse.linux.mounts import mounts_below
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.testing.csi_driver import NAME

pytestmark = pytest.mark.system

OBJECTS = f"""\
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {{name: {NAME}}}
spec: {{attachRequired: true, fsGroupPolicy: File}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: pv1}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  claimRef: {{namespace: default, name: data}}
  csi: {{driver: {NAME}, volumeHandle: vol-1, nodeStageSecretRef: {{namespace: kube-system, name: stage}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: stage, namespace: kube-system}}
stringData: {{key: s3cret}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec: {{accessModes: [ReadWriteOnce], storageClassName: "", resources: {{requests: {{storage: 1Gi}}}}}}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{fsGroup: 10001}}
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
  containers:
    - name: main
      image: {image}
      args: ["-c", "trap 'exit 0' TERM; date >> /data/written; busybox sleep 3600 & wait"]
      volumeMounts: [{{name: data, mountPath: /data}}]
"""


def daemon_set(driver: Driver, image: str) -> str:
    """The driver with the host's Python, which is seen at the same paths."""
    python = {"/usr", "/lib", "/lib64", sys.prefix, sys.base_prefix, str(Path(pilothouse.__file__).parents[2])}
    paths = {str(driver.store): "None", **dict.fromkeys(python, "None"), str(driver.root): "Bidirectional"}
    mounts = [
        {"name": f"v{number}", "mountPath": path, "mountPropagation": way}
        for number, (path, way) in enumerate(sorted(paths.items()))
    ]
    container = {
        "name": "driver",
        "image": image,
        "command": driver.command,
        "securityContext": {"privileged": True, "runAsUser": 0, "runAsNonRoot": False},
        "volumeMounts": mounts,
    }
    volumes = [{"name": mount["name"], "hostPath": {"path": mount["mountPath"]}} for mount in mounts]
    spec = {"terminationGracePeriodSeconds": 5, "volumes": volumes, "containers": [container]}
    template = {"metadata": {"labels": {"app": "driver"}}, "spec": spec}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "driver", "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": {"app": "driver"}}, "template": template},
        }
    )


class Driver:
    """The driver, and what its attacher would do."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.root = machine.root / "kubelet"
        self.store = machine.root / "store"
        words = ["--root", str(self.root), "--store", str(self.store), "--node-id", "i-1"]
        program = [sys.executable, "-m", "pilothouse.testing.csi_driver"]
        self.command = [*program, *words, "--ability", "STAGE_UNSTAGE_VOLUME"]
        self.start()

    def start(self) -> None:
        self.process = self.machine.start(*self.command)

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def asked(self, method: str) -> int:
        path = self.store / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return sum(json.loads(line)["method"] == method for line in lines)

    def mounts(self) -> list[str]:
        """What is mounted below the root; that itself is, where the host shares no mounts."""
        return [path for path in mounts_below(self.root) if path != str(self.root)]

    def attach(self) -> None:
        """Says that everything is attached, once there is anything to attach."""
        (name,) = until(self.attachments, "there is a VolumeAttachment")
        patch = json.dumps({"status": {"attached": True}})
        self.machine.kubectl("patch", "volumeattachment", name, "--subresource=status", "--type=merge", "-p", patch)

    def attachments(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.machine.get("volumeattachments")["items"]]


@pytest.fixture
def driver(engine: Machine) -> Iterator[Driver]:
    made = Driver(engine)
    config = engine.data_dir / "config.json"
    tree = json.loads(config.read_text())
    tree["node"] = {**tree.get("node", {}), "csi_root_dir": str(made.root)}
    engine.pilothouse("stop")
    config.write_text(json.dumps(tree))
    engine.up()
    engine.wait_ready()
    until(lambda: engine.get("csinode", engine.name)["spec"]["drivers"], "the driver is told")
    yield made
    made.end()


def test_a_volume_outlives_the_node_and_leaves_nothing(engine: Machine, driver: Driver, images: Images) -> None:
    engine.apply(OBJECTS)
    hold = driver.store / "hold-NodePublishVolume"
    hold.touch()
    engine.apply(POD.format(name="one", image=images.tools))
    driver.attach()
    until(lambda: driver.asked("NodePublishVolume"), "the driver is asked to publish")
    engine.kill("node")
    hold.unlink()
    engine.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=60s", seconds=70)
    written = driver.store / "volumes" / "vol-1" / "written"
    assert written.stat().st_gid == 10001
    # Pods go on while the node is away, and the volume with them; another pod of the node shares it.
    before = engine.starts()
    engine.kill("node")
    engine.wait_ready()
    engine.apply(POD.format(name="two", image=images.tools))
    engine.kubectl("wait", "--for=condition=Ready", "pod/two", "--timeout=60s", seconds=70)
    assert before.items() <= engine.starts().items()
    assert len(written.read_text().splitlines()) == 2
    # The node is killed while the last volume is unmounted.
    hold = driver.store / "hold-NodeUnpublishVolume"
    hold.touch()
    engine.kubectl("delete", "pod", "one", "two", "--wait=false")
    until(lambda: driver.asked("NodeUnpublishVolume"), "the driver is asked to unpublish")
    engine.kill("node")
    hold.unlink()
    engine.kubectl("wait", "--for=delete", "pod/one", "pod/two", "--timeout=60s", seconds=70)
    until(lambda: not driver.mounts(), "nothing is mounted")
    layout = CsiLayout(driver.root)
    until(lambda: not layout.pods() and not layout.staged(), "nothing is on record")
    until(lambda: not driver.attachments(), "it is detached")
    assert driver.asked("NodeUnstageVolume")


def test_a_driver_in_a_pod(engine: Machine, driver: Driver, images: Images) -> None:
    """As stock drivers run: what it mounts in its own mount namespace reaches the host and the other pod."""
    driver.end()
    until(lambda: not engine.get("csinode", engine.name)["spec"]["drivers"], "the driver is gone")
    engine.apply(daemon_set(driver, images.tools))
    until(lambda: engine.get("csinode", engine.name)["spec"]["drivers"], "the driver is told", 60)
    engine.apply(POD.format(name="four", image=images.tools))
    driver.attach()
    engine.kubectl("wait", "--for=condition=Ready", "pod/four", "--timeout=60s", seconds=70)
    said = engine.kubectl("exec", "four", "--", "busybox", "mount")
    assert " on /data " in said
    assert driver.mounts()
    # The driver's pod is replaced: volumes stay, and the new one undoes what the old one did.
    engine.kubectl("rollout", "restart", "-n", "kube-system", "daemonset/driver")
    engine.kubectl("rollout", "status", "-n", "kube-system", "daemonset/driver", "--timeout=60s", seconds=70)
    until(lambda: engine.get("csinode", engine.name)["spec"]["drivers"], "the driver is told", 60)
    engine.kubectl("exec", "four", "--", "busybox", "cat", "/data/written")
    engine.kubectl("delete", "pod", "four", "--timeout=60s", seconds=70)
    until(lambda: not driver.mounts(), "nothing is mounted")
    engine.kubectl("delete", "-n", "kube-system", "daemonset/driver", "--timeout=60s", seconds=70)
    driver.start()
    until(lambda: engine.get("csinode", engine.name)["spec"]["drivers"], "the driver is told", 60)


def test_down_leaves_no_mount(engine: Machine, driver: Driver, images: Images) -> None:
    engine.apply(POD.format(name="three", image=images.tools))
    driver.attach()
    engine.kubectl("wait", "--for=condition=Ready", "pod/three", "--timeout=60s", seconds=70)
    assert driver.mounts()
    engine.pilothouse("down", "--purge")
    assert mounts_below(driver.root) == []
    assert os.listdir(driver.store / "volumes" / "vol-1") == ["written"]
