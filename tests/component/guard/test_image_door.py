"""The door for images in the chain that every server has: what it writes is what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pilothouse.apiserver.admission.steps import standard_chain
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import Chain
from pilothouse.apiserver.reader import StoreReader
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.door.policy import Facts
from pilothouse.guard.images.door.question import Question
from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.image_door import ImageDoor
from pilothouse.machinery.errors import Forbidden
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import AllowAll, ControlPlane

DIGEST = "sha256:" + "a" * 64
POLICY = {"images.guard.pilothouse.dev/signed-by": "release"}


class Signed(Door):
    """One repository is signed."""

    async def facts(self, question: Question) -> Facts:
        if question.image.startswith("r.example/good") and question.keys == {"release": "PEM"}:
            return Facts(signed_by="release", signed_digest=DIGEST)
        return Facts(unsigned="it has no signature in its registry")


async def test_a_pod_is_stored_with_the_digest_that_was_signed(tmp_path: Path) -> None:
    store = MemoryStore()
    reader, everything = StoreReader(store), AllowAll()
    door = ImageDoor(reader, Signed(tmp_path, tmp_path))
    admission = standard_chain(store, reader, everything, RbacIndex(store), (door,), (door,))
    async with ControlPlane(store=store, chain=Chain(everything, everything, admission)) as plane:
        client = plane.client()

        async def make(path: str, kind: str, name: str, annotations: dict[str, str] | None = None, **more: Any) -> None:
            meta = {"name": name, "annotations": annotations or {}}
            await client.request("POST", path, body={"apiVersion": "v1", "kind": kind, "metadata": meta, **more})

        async def pod(name: str, image: str) -> None:
            spec = {"containers": [{"name": "c", "image": image}]}
            await make("/api/v1/namespaces/shop/pods", "Pod", name, spec=spec)

        await make("/api/v1/namespaces", "Namespace", "kube-system")
        await make("/api/v1/namespaces", "Namespace", "shop", POLICY)
        await make("/api/v1/namespaces/shop/serviceaccounts", "ServiceAccount", "default")
        keys = {"release": "PEM"}
        await make("/api/v1/namespaces/kube-system/configmaps", "ConfigMap", "image-signing-keys", data=keys)
        await pod("good", "r.example/good:1")
        stored = await client.get(Pod, "good", "shop")
        assert [container.image for container in stored.spec.containers] == [f"r.example/good:1@{DIGEST}"]
        with pytest.raises(Forbidden, match="it is not signed by release: it has no signature in its registry"):
            await pod("bad", "r.example/bad:1")
