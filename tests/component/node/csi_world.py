"""A node that takes CSI drivers, and a driver in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from node_world import World, until

from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.linux.mounts import mounts_below
from pilothouse.machinery.objects import Obj
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.node.settings import Settings
from pilothouse.testing.csi_driver import NAME

STAGES = "STAGE_UNSTAGE_VOLUME"


class DriverProcess:
    """The bind driver, started and ended as a driver's pod would be."""

    def __init__(self, root: Path, store: Path) -> None:
        self.root = root
        self.store = store
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *abilities: str, node_id: str = "i-1", most: int = 0, zone: str = "") -> None:
        words = ["--root", str(self.root), "--store", str(self.store), "--node-id", node_id, "--most", str(most)]
        words += [word for ability in abilities for word in ("--ability", ability)]
        words += ["--zone", zone] if zone else []
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pilothouse.testing.csi_driver", *words
        )

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(sign)
            await self._process.wait()
            self._process = None

    def calls(self, *methods: str) -> list[dict[str, Any]]:
        """What it was asked, of these methods or of all that change something."""
        wanted = methods or ("NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume")
        path = self.store / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for line in lines if (call := json.loads(line))["method"] in wanted]

    def names(self) -> list[str]:
        return [call["method"].removeprefix("Node").removesuffix("Volume") for call in self.calls()]


class CsiLab(World):
    driver: DriverProcess
    takes_drivers = True

    @property
    def kubelet(self) -> Path:
        return self.root / "kubelet"

    def settings(self) -> Settings:
        return Settings(csi_root_dir=str(self.kubelet) if self.takes_drivers else "")

    def mounts(self) -> list[str]:
        """What is mounted below the drivers' root, which may itself be a mount."""
        return [path for path in mounts_below(self.kubelet) if path != str(self.kubelet)]

    async def registered(self, **entry: Any) -> None:
        """Waits until the CSINode says so."""

        async def check() -> bool:
            node = await self.client.find(CSINode, "n1")
            return node is not None and any(driver.name == NAME for driver in node.spec.drivers) is bool(entry)

        await until(check)

    async def describe(self, **spec: Any) -> None:
        tree: Obj = {"metadata": {"name": NAME}, "spec": {"attachRequired": False, **spec}}
        await self.client.create_tree(CSIDriver.resource, tree)

    async def volume(self, name: str, handle: str, *, mode: str = "Filesystem", **source: Any) -> None:
        """A PersistentVolume of the driver and a claim of the same name, bound to one another."""
        claim = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "volumeName": name,
                "volumeMode": mode,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        made = await self.client.create_tree(PersistentVolumeClaim.resource, claim, "default")
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": mode,
            "claimRef": {"namespace": "default", "name": name, "uid": made["metadata"]["uid"]},
            "csi": {"driver": NAME, "volumeHandle": handle, **source},
        }
        await self.client.create_tree(PersistentVolume.resource, {"metadata": {"name": name}, "spec": spec})
        status = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        await self.client.patch(PersistentVolumeClaim, name, "default", status, subresource="status")

    async def pod(self, name: str, source: Obj, **spec: Any) -> Pod:
        tree = {
            "metadata": {"name": name},
            "spec": {
                "nodeName": "n1",
                "terminationGracePeriodSeconds": 1,
                "volumes": [{"name": "data", **source}],
                "containers": [
                    {"name": "a", "image": "img:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
                ],
                **spec,
            },
        }
        await self.client.create_tree(Pod.resource, tree, "default")
        return await self.client.get(Pod, name, "default")

    async def claiming(self, name: str, claim: str, *, read_only: bool = False, **spec: Any) -> Pod:
        return await self.pod(name, {"persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}, **spec)

    async def runs(self, *names: str) -> None:
        async def check() -> bool:
            return self.runtime.running() == [f"{name}/a" for name in names]

        await until(check)

    async def end(self, name: str) -> None:
        await self.client.delete(Pod, name, "default")

        async def gone() -> bool:
            return await self.client.find(Pod, name, "default") is None

        await until(gone)

    async def said(self, reason: str, text: str) -> None:
        async def check() -> bool:
            events = (await self.client.list(Event, "default")).items
            return any(event.reason == reason and text in event.message for event in events)

        await until(check)

    async def asked(self, *names: str) -> None:
        """Waits until the driver was asked just this."""

        async def check() -> bool:
            return self.driver.names() == list(names)

        await until(check)

    async def clean(self) -> None:
        """Waits until nothing is mounted, and nothing on record."""

        async def check() -> bool:
            layout = CsiLayout(self.kubelet)
            return not self.mounts() and not layout.pods() and not layout.staged()

        await until(check)
