"""Reading while much is written: GETs on one connection, while `deploy` applies hundreds of objects."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import orjson

from pilothouse.client.client import Client
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.testing.bench.host import BenchError, Host

NAMESPACE = "load"
_PAUSE = 0.005


def manifests(count: int) -> bytes:
    """`count` objects of a usual mixture, as a JSON list."""
    items: list[dict[str, object]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    for number in range(count - 1):
        metadata = {"name": f"o{number}", "namespace": NAMESPACE, "labels": {"app": f"o{number}"}}
        match number % 5:
            case 0 | 1:
                data = {f"key{line}": "value " * 20 for line in range(10)}
                items.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
            case 2:
                secret = {"password": f"secret-{number}"}
                items.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret})
            case 3:
                spec = {"selector": {"app": f"o{number}"}, "ports": [{"port": 80}]}
                items.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
            case _:
                items.append(
                    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": _idle(number)}
                )
    return orjson.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _write(folder: Path, count: int) -> Path:
    path = folder / "load.json"
    path.write_bytes(manifests(count))
    return path


def _idle(number: int) -> dict[str, object]:
    labels = {"app": f"o{number}"}
    containers = [{"name": "c", "image": "example.test/none:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}


async def read_while_applying(host: Host, client: Client, count: int) -> tuple[list[float], float]:
    """Seconds of each GET while `count` objects are applied, and the seconds that took."""
    path = await asyncio.to_thread(_write, host.data_dir.parent, count)
    began = time.perf_counter()
    deploy = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from pilothouse.cli.main import main; main()",
        *("deploy", str(path), "--no-wait", "--data-dir", str(host.data_dir)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    ended = asyncio.create_task(deploy.wait())
    took = []
    while not ended.done():
        start = time.perf_counter()
        await client.request("GET", "/api/v1/namespaces/kube-system")
        took.append(time.perf_counter() - start)
        await asyncio.sleep(_PAUSE)
    seconds = time.perf_counter() - began
    if await ended != 0:
        raise BenchError(f"applying {count} objects ended with {deploy.returncode}")
    return took, seconds


async def remove(client: Client) -> None:
    """Deletes what was applied and waits until it is gone."""
    known = await client.list(Namespace)
    await client.delete(Namespace, NAMESPACE)
    async with asyncio.timeout(120):
        async for change in client.watch(Namespace, resource_version=known.resource_version):
            if change.type == "DELETED" and change.object.name == NAMESPACE:
                return
