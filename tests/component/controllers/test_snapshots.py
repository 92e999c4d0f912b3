"""Snapshots of local volumes: the real controllers and scheduler, and the part of two nodes that copies directories."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from cluster_world import Cluster
from test_cluster_objects import add_local_class

from pilothouse.client.events import EventRecorder
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.node.volumes.fill import Filler
from pilothouse.node.volumes.reclaim import Reclaimer
from pilothouse.reconcile.snapshots import KINDS, VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent
from pilothouse.reconcile.volumes import VOLUMES_CAPACITY

EXAMPLES = Path(__file__).parents[3] / "examples" / "volume-snapshots"
SNAPSHOT_GROUP = "snapshot.storage.k8s.io"


class Storage:
    """Two nodes with directories of volumes."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self._tasks: list[asyncio.Task[None]] = []

    def directory(self, node: str, volume: str = "") -> Path:
        return self.folder / node / volume

    async def add_node(self, name: str) -> None:
        folder = self.directory(name)
        folder.mkdir()
        await self.cluster.add_node(name)
        annotations = {"pilothouse.io/volumes-dir": str(folder)}
        await self.cluster.client.patch(Node, name, None, {"metadata": {"annotations": annotations}})
        client = self.cluster.client
        reclaimer, recorder = Reclaimer(client, folder, name), EventRecorder(client, "kubelet", name)
        filler = Filler(client, reclaimer, recorder, folder, name)
        self._tasks += [asyncio.create_task(part.run()) for part in (reclaimer, recorder, filler)]

    async def define(self) -> None:
        """What a user applies."""
        for tree in yaml.safe_load_all((EXAMPLES / "definitions.yaml").read_text()):
            if tree["kind"] == "CustomResourceDefinition":
                await self.cluster.client.create_tree(CustomResourceDefinition.resource, tree)
        for cls in KINDS:
            await self.cluster.until(lambda cls=cls: self._served(cls))
            self.cluster.informers.of(cls).subscribe(lambda key, old, new: self.cluster._changed.set())
        (tree,) = yaml.safe_load_all((EXAMPLES / "class.yaml").read_text())
        await self.cluster.client.create_tree(VolumeSnapshotClass.resource, tree)

    def _served(self, cls: Any) -> bool:
        found = self.cluster.get(CustomResourceDefinition, f"{cls.resource.plural}.{SNAPSHOT_GROUP}")
        return found is not None and bool(found.has("Established"))

    async def volume(self, name: str, node: str = "", **spec: Any) -> PersistentVolume:
        """A claim with its volume, for a pod (on a node)."""
        await self.claim(name, **spec)
        await self.pod(name, node)
        bound = await self.cluster.until(lambda: (c := self.claimed(name)) and c.status.phase == "Bound" and c)
        found: PersistentVolume = self.cluster.get(PersistentVolume, bound.spec.volume_name)
        return found

    async def node_of(self, pod: str) -> str:
        """Where a pod has been placed."""
        return str(await self.cluster.until(lambda: self.cluster.get(Pod, f"shop/{pod}").spec.node_name))

    def claimed(self, name: str) -> Any:
        return self.cluster.get(PersistentVolumeClaim, f"shop/{name}")

    async def claim(self, name: str, storage: str = "1Gi", **spec: Any) -> None:
        body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}, **spec}
        await self.cluster.client.create_tree(
            PersistentVolumeClaim.resource, {"metadata": {"name": name}, "spec": body}, "shop"
        )

    async def pod(self, claim: str, node: str = "") -> None:
        selector = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
        spec: Obj = {
            **selector,
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        }
        await self.cluster.client.create_tree(Pod.resource, {"metadata": {"name": claim}, "spec": spec}, "shop")

    async def snapshot(self, name: str, **source: str) -> None:
        tree = {"metadata": {"name": name}, "spec": {"source": source}}
        await self.cluster.client.create_tree(VolumeSnapshot.resource, tree, "shop")

    async def taken(self, name: str) -> VolumeSnapshot:
        found: VolumeSnapshot = await self.cluster.until(
            lambda: (s := self.cluster.get(VolumeSnapshot, f"shop/{name}")) and s.status.ready_to_use and s
        )
        return found

    async def told(self, name: str, words: str) -> None:
        """An event about what is called so says it."""

        def check() -> bool:
            events: list[Event] = self.cluster.all(Event)
            return any(event.involved_object.name == name and words in event.message for event in events)

        await self.cluster.until(check)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


@pytest_asyncio.fixture
async def storage(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Storage]:
    made = Storage(cluster, tmp_path)
    cluster.informers.of(CustomResourceDefinition).subscribe(lambda key, old, new: cluster._changed.set())
    await add_local_class(cluster)
    for name in ("n1", "n2"):
        await made.add_node(name)
    yield made
    await made.close()


def from_snapshot(name: str) -> Obj:
    return {"dataSource": {"apiGroup": SNAPSHOT_GROUP, "kind": "VolumeSnapshot", "name": name}}


async def filled(storage: Storage, claim: str = "data", node: str = "n2", text: str = "first") -> Path:
    """A volume with a file, as a pod would have made it."""
    volume = await storage.volume(claim, node)
    directory = storage.directory(node, volume.name)
    directory.mkdir()
    (directory / "file").write_text(text)
    return directory


async def test_a_claim_is_filled_from_a_snapshot_on_the_node_that_has_it(storage: Storage) -> None:
    directory = await filled(storage)
    await storage.define()  # while everything runs
    await storage.snapshot("one", persistentVolumeClaimName="data")
    taken = await storage.taken("one")
    assert taken.status.restore_size == "1Gi"
    assert taken.status.creation_time is not None
    (directory / "file").write_text("second")
    volume = await storage.volume("restored", **from_snapshot("one"))
    cluster = storage.cluster
    assert await storage.node_of("restored") == "n2"
    assert (storage.directory("n2", volume.name) / "file").read_text() == "first"
    data = cluster.get(PersistentVolume, f"snapcontent-{taken.metadata.uid}")
    await cluster.until(lambda: cluster.get(PersistentVolume, data.name).status.phase == "Released")
    await cluster.client.delete(VolumeSnapshot, "one", "shop")
    await cluster.until(lambda: cluster.get(VolumeSnapshot, "shop/one") is None)
    await cluster.until(lambda: cluster.get(PersistentVolume, data.name) is None)
    assert not cluster.all(VolumeSnapshotContent)
    assert not storage.directory("n2", data.name).exists()
    assert (storage.directory("n2", volume.name) / "file").read_text() == "first"


async def test_a_claim_is_filled_from_another(storage: Storage) -> None:
    """Without any definitions."""
    await filled(storage)
    volume = await storage.volume("copy", dataSource={"kind": "PersistentVolumeClaim", "name": "data"})
    assert await storage.node_of("copy") == "n2"
    assert (storage.directory("n2", volume.name) / "file").read_text() == "first"


async def test_data_that_is_retained_is_given_to_another_snapshot(storage: Storage) -> None:
    cluster = storage.cluster
    await filled(storage)
    await storage.define()
    await cluster.client.patch(VolumeSnapshotClass, "local", None, {"deletionPolicy": "Retain"})
    await cluster.until(lambda: cluster.get(VolumeSnapshotClass, "local").deletion_policy == "Retain")
    await storage.snapshot("one", persistentVolumeClaimName="data")
    taken = await storage.taken("one")
    content = cluster.get(VolumeSnapshotContent, taken.status.bound_volume_snapshot_content_name)
    await cluster.client.delete(VolumeSnapshot, "one", "shop")
    await cluster.until(lambda: cluster.get(VolumeSnapshot, "shop/one") is None)
    await cluster.client.delete(VolumeSnapshotContent, content.name)
    await cluster.until(lambda: cluster.get(VolumeSnapshotContent, content.name) is None)
    spec = {
        "driver": "pilothouse.io/local",
        "deletionPolicy": "Delete",
        "source": {"snapshotHandle": content.status.snapshot_handle},
        "volumeSnapshotRef": {"namespace": "shop", "name": "again"},
    }
    await cluster.client.create_tree(VolumeSnapshotContent.resource, {"metadata": {"name": "kept"}, "spec": spec})
    await storage.snapshot("again", volumeSnapshotContentName="kept")
    await storage.taken("again")
    volume = await storage.volume("restored", **from_snapshot("again"))
    assert (storage.directory("n2", volume.name) / "file").read_text() == "first"
    await cluster.client.delete(VolumeSnapshot, "again", "shop")
    await cluster.until(lambda: cluster.get(PersistentVolume, content.name) is None)
    assert not storage.directory("n2", content.name).exists()


async def test_what_cannot_be_is_told(storage: Storage) -> None:
    cluster = storage.cluster
    await storage.claim("early", **from_snapshot("one"))
    await storage.told("early", "the kinds of volume snapshots are not defined")
    await filled(storage)
    await storage.define()
    await storage.snapshot("of-nothing", persistentVolumeClaimName="nobody")
    await storage.told("of-nothing", 'persistentvolumeclaim "nobody" not found')
    await storage.told("early", 'volumesnapshot "one" not found')
    await storage.snapshot("one", persistentVolumeClaimName="data")
    await storage.taken("one")
    await storage.claim("small", "1Mi", **from_snapshot("one"))
    await storage.told("small", f'{1 << 20} bytes are asked for, and volumesnapshot "one" needs {1 << 30}')
    book = {"apiGroup": "example.com", "kind": "Book", "name": "x"}
    await storage.claim("odd", dataSourceRef=book)
    await storage.told("odd", "not from Book.example.com 'x'")
    for wrong in ({"dataSource": {"kind": "Pod", "name": "x"}}, {"dataSource": {"kind": "PersistentVolumeClaim"}}):
        with pytest.raises(Invalid, match=r"spec\.dataSource\."):
            await storage.claim("wrong", **wrong)
    await cluster.client.patch(Node, "n2", None, {"metadata": {"annotations": {VOLUMES_CAPACITY: str((2 << 30) + 5)}}})
    await cluster.until(lambda: VOLUMES_CAPACITY in cluster.get(Node, "n2").metadata.annotations)
    await storage.snapshot("much", persistentVolumeClaimName="data")
    found = await cluster.until(
        lambda: (s := cluster.get(VolumeSnapshot, "shop/much")) and s.status.error and s.status.error.message
    )
    assert "the node n2 has no room" in found


async def test_a_volume_that_is_to_be_copied_stays_until_it_is(storage: Storage, monkeypatch: Any) -> None:
    """Its claim is deleted first."""
    cluster, may = storage.cluster, asyncio.Event()
    loop = asyncio.get_running_loop()
    real = Filler._copy

    def waits(self: Filler, volume: PersistentVolume) -> int:
        asyncio.run_coroutine_threadsafe(may.wait(), loop).result()
        return real(self, volume)

    monkeypatch.setattr(Filler, "_copy", waits)
    directory = await filled(storage)
    await storage.define()
    await storage.snapshot("one", persistentVolumeClaimName="data")
    await cluster.until(lambda: [v for v in cluster.all(PersistentVolume) if v.name.startswith("snapcontent-")])
    await cluster.client.delete(Pod, "data", "shop")
    await cluster.client.delete(PersistentVolumeClaim, "data", "shop")
    await cluster.until(lambda: cluster.get(PersistentVolume, directory.name).metadata.deletion_timestamp)
    assert directory.exists()
    may.set()
    taken = await storage.taken("one")
    data = storage.directory("n2", f"snapcontent-{taken.metadata.uid}")
    assert (data / "file").read_text() == "first"
    await cluster.until(lambda: cluster.get(PersistentVolume, directory.name) is None)
    assert not directory.exists()
