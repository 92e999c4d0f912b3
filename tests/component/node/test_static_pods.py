"""Pods of a folder: they run without the API, and are shown there by mirrors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from node_world import World, until

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.static_pod import HASH, MIRROR, SOURCE
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane


def manifest(container: str = "a", **spec: object) -> str:
    tree: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": container, "image": "img:1"}], **spec},
    }
    return json.dumps(tree)


class Folder(World):
    """A node whose folder holds what a test puts there."""

    def put(self, name: str, text: str) -> None:
        directory = self.root / "static-pods"
        directory.mkdir(exist_ok=True)
        fresh = directory / f".{name}"
        fresh.write_text(text)
        fresh.rename(directory / name)

    def take(self, name: str) -> None:
        (self.root / "static-pods" / name).unlink()

    async def runs(self, *wanted: str) -> None:
        async def check() -> bool:
            return self.runtime.running() == list(wanted)

        await until(check)

    async def mirror(self) -> Pod:
        """The mirror, once it shows the pod as it is."""

        found: list[Pod] = []

        async def check() -> bool:
            pod = await self.client.find(Pod, "web-n1", "default")
            if pod is not None and any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions):
                found.append(pod)
            return bool(found)

        await until(check)
        return found[0]

    async def unseen(self) -> None:
        async def check() -> bool:
            return await self.client.find(Pod, "web-n1", "default") is None

        await until(check)


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    (tmp_path / "cgroup").mkdir()
    async with ControlPlane() as plane:
        made = Folder(tmp_path, plane)
        await made.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        yield made
        await made.stop()


async def test_a_file_becomes_a_pod_and_its_mirror(folder: Folder) -> None:
    folder.put("web.yaml", manifest())
    folder.start()
    await folder.runs("web-n1/a")
    mirror = await folder.mirror()
    node = await folder.client.get(Node, "n1")
    notes = mirror.metadata.annotations
    assert (notes[MIRROR], notes[SOURCE]) == (notes[HASH], "file")
    assert [(owner.kind, owner.uid) for owner in mirror.metadata.owner_references] == [("Node", node.metadata.uid)]
    assert mirror.metadata.labels == {"app": "web"}
    assert mirror.spec.node_name == "n1"


async def test_a_mirror_that_is_deleted_comes_back_and_the_pod_goes_on(folder: Folder) -> None:
    folder.put("web.yaml", manifest())
    folder.start()
    first = await folder.mirror()
    await folder.client.delete(Pod, "web-n1", "default")

    async def anew() -> bool:
        return (await folder.mirror()).metadata.uid != first.metadata.uid

    await until(anew)
    assert folder.runtime.running() == ["web-n1/a"]
    assert len(folder.runtime.containers) == 1


async def test_a_changed_file_replaces_the_pod_and_a_removed_one_ends_it(folder: Folder) -> None:
    folder.start()
    folder.put("web.yaml", manifest())
    await folder.mirror()
    folder.put("web.yaml", manifest("b"))
    await folder.runs("web-n1/b")
    changed = await folder.mirror()
    assert [container.name for container in changed.spec.containers] == ["b"]
    folder.take("web.yaml")
    await folder.runs()
    await folder.unseen()
    assert not folder.runtime.sandboxes


async def test_without_the_api_they_start_and_are_shown_later(folder: Folder) -> None:
    folder.switch.open = False
    folder.put("web.yaml", manifest())
    folder.start()
    await folder.runs("web-n1/a")
    folder.switch.open = True
    await folder.mirror()
    # A new process takes over what runs, and ends what lost its file meanwhile.
    await folder.stop()
    folder.start()
    await folder.mirror()
    assert len(folder.runtime.containers) == 1
    await folder.stop()
    folder.take("web.yaml")
    folder.start()
    await folder.runs()
    await folder.unseen()


async def test_a_file_that_is_no_pod_is_told_and_the_others_run(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.put("bad.yaml", "kind: [")
    folder.put("web.yaml", manifest())
    folder.start()
    await folder.runs("web-n1/a")
    assert "bad.yaml is not run: it is not YAML" in caplog.text
