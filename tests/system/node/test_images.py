"""The real pull path: a registry on loopback, images by tag and by digest, one pull for many pods."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_cluster import Cluster

from pilothouse.testing.images import MANIFEST, Image, Recipe, build, push

pytestmark = pytest.mark.system

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: {address}}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(config)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((address.split(":")[0], int(address.split(":")[1])), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield address
    process.kill()
    process.wait()


def busybox_image(mark: str) -> Image:
    """An image with a shell, different for each mark."""
    busybox = Path("/bin/busybox").read_bytes()
    return build(Recipe(executables={"usr/bin/sh": busybox}, files={"etc/made": mark.encode()}, user="0"))


async def test_pulls_by_tag_and_digest(cluster: Cluster, registry: str) -> None:
    image = busybox_image(registry)
    by_digest = push(image, registry, "team/app", "1")
    command = ["sh", "-c", "exec sleep 1000"]
    for number in range(3):
        await cluster.create(f"p{number}", {"containers": [{"image": f"{registry}/team/app:1", "command": command}]})
    await cluster.create("digest", {"containers": [{"image": by_digest, "command": command}]})
    for name in ("p0", "p1", "p2", "digest"):
        pod = await cluster.ready(name)
        assert pod.status.container_statuses[0].image_id == by_digest
    events = await cluster.events()
    assert f'Successfully pulled image "{registry}/team/app:1"' in events


async def test_a_tag_that_does_not_exist(cluster: Cluster, registry: str) -> None:
    await cluster.create("none", {"containers": [{"image": f"{registry}/team/app:none"}]})

    async def told() -> str:
        waiting = (await cluster.container("none")).state.waiting
        return waiting.message if waiting is not None and waiting.reason == "ErrImagePull" else ""

    assert f"does not exist in registry {registry}" in await cluster.until(told, "the reason is shown")

    async def backs_off() -> bool:
        waiting = (await cluster.container("none")).state.waiting
        return waiting is not None and waiting.reason == "ImagePullBackOff"

    await cluster.until(backs_off, "it backs off")


async def told(cluster: Cluster, name: str) -> str:
    """Why the image cannot be had, as soon as the status says it."""

    async def reason() -> str:
        waiting = (await cluster.container(name)).state.waiting
        return waiting.message if waiting is not None and waiting.reason == "ErrImagePull" else ""

    return str(await cluster.until(reason, "the reason is shown"))


async def test_an_image_for_another_architecture(cluster: Cluster, registry: str) -> None:
    image = busybox_image("elsewhere")
    push(image, registry, "team/arm", "base")
    platform = {"architecture": "arm64", "os": "linux"}
    entry = {"mediaType": MANIFEST, "digest": image.digest, "size": len(image.manifest), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    put(registry, "/v2/team/arm/manifests/1", json.dumps(index).encode(), INDEX)
    await cluster.create("arm", {"containers": [{"image": f"{registry}/team/arm:1"}]})
    message = await told(cluster, "arm")
    assert f'image "{registry}/team/arm:1" has no variant for this machine\'s architecture (linux/amd64)' in message


async def test_a_corrupt_layer(cluster: Cluster, registry: str, tmp_path: Path) -> None:
    push(busybox_image("corrupt"), registry, "team/bad", "1")
    blobs = (tmp_path / "data" / "docker" / "registry" / "v2" / "blobs").rglob("data")
    layer = max(blobs, key=lambda path: path.stat().st_size)
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 0xFF
    layer.write_bytes(content)
    await cluster.create("bad", {"containers": [{"image": f"{registry}/team/bad:1"}]})
    assert f'a layer of image "{registry}/team/bad:1" is corrupt' in await told(cluster, "bad")


def put(registry: str, path: str, body: bytes, kind: str) -> None:
    connection = http.client.HTTPConnection(registry)
    connection.request("PUT", path, body, {"Content-Type": kind})
    assert connection.getresponse().status == 201
    connection.close()


async def test_a_registry_that_does_not_answer_is_named_soon(cluster: Cluster) -> None:
    # 10.231.1.0/24 is unreachable but for pods; a listener that never accepts stands for a silent registry.
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(silent.getsockname())
        fillers.append(filler)
    host = f"127.0.0.1:{silent.getsockname()[1]}"
    await cluster.create("silent", {"containers": [{"image": f"{host}/app:1"}]})

    async def told() -> str:
        waiting = (await cluster.container("silent")).state.waiting
        return waiting.message if waiting is not None and waiting.reason.startswith(("Err", "ImagePull")) else ""

    message = await cluster.until(told, "the registry is named", 15)
    assert f"registry {host} cannot be reached" in message
    for made in (silent, *fillers):
        made.close()
