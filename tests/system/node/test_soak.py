"""Some thousand pods are started and stopped, and nothing of them is left.

Mounts, namespaces, groups, processes, addresses, routes, descriptors, containers, snapshots are counted.
PILOTHOUSE_SOAK_PODS says how many (2000), twenty at a time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any

import pytest
from node_cluster import POD_RANGE, Cluster

from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.linux.cgroups import Cgroups
from pilothouse.machinery.objects import Obj

pytestmark = [pytest.mark.system, pytest.mark.slow]

PODS = int(os.environ.get("PILOTHOUSE_SOAK_PODS", "2000"))
AT_ONCE = 20


def spec(number: int) -> Obj:
    """Every third pod ends by itself, every fifth crashes, the others run with volumes, probes and a hook."""
    if number % 3 == 0:
        return {"restartPolicy": "Never", "containers": [{"command": ["sh", "-c", "echo over"]}]}
    if number % 5 == 0:
        return {"containers": [{"command": ["sh", "-c", "exit 1"]}]}
    mounts = [
        {"name": "memory", "mountPath": "/memory"},
        {"name": "disk", "mountPath": "/disk", "subPath": f"below/{number}"},
        {"name": "config", "mountPath": "/config"},
    ]
    return {
        "volumes": [
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "config", "projected": {"sources": [{"configMap": {"name": "soak"}}]}},
        ],
        "initContainers": [{"name": "first", "command": ["sh", "-c", "true"]}],
        "containers": [
            {
                "command": ["sh", "-c", "trap 'exit 0' TERM; while sleep 0.2; do :; done"],
                "volumeMounts": mounts,
                "readinessProbe": {"exec": {"command": ["sh", "-c", "true"]}, "periodSeconds": 1},
                "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "true"]}}},
            }
        ],
    }


async def life(cluster: Cluster, number: int, namespaces: set[str]) -> None:
    name = f"soak-{number}"
    await cluster.create(name, spec(number))
    reached: Awaitable[Any]
    if number % 3 == 0:
        reached = cluster.phase(name, "Succeeded", 120)
    elif number % 5 == 0:
        reached = cluster.until(lambda: _crashed(cluster, name), f"{name} has crashed", 120)
    else:
        reached = cluster.ready(name, 120)
    await reached
    assert cluster.node is not None
    state = cluster.node.pods.get("default", name)
    if state is not None and state.netns:
        namespaces.add(state.netns)
    await cluster.delete(name, 120)


async def _crashed(cluster: Cluster, name: str) -> bool:
    return (await cluster.container(name)).restart_count > 0


def left(cluster: Cluster, namespaces: Iterable[str]) -> dict[str, int]:
    """What there is now of everything that pods take."""
    root = cluster.runtime.root
    config = cluster.runtime.config
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(root) in line]
    routes = subprocess.run(["ip", "route", "show", "root", str(POD_RANGE)], capture_output=True, text=True, check=True)
    groups = Cgroups()
    return {
        "mounts": len(mounts),
        "network namespaces": sum(os.path.exists(path) for path in namespaces),
        "groups": sum(
            len([name for name in groups.children(f"{config.cgroup_root}/{qos}") if name.startswith("pod")])
            for qos in groups.children(config.cgroup_root)
        ),
        "shims": sum(
            b"containerd-shim" in words and str(root).encode() in words
            for entry in Path("/proc").glob("[0-9]*/cmdline")
            if (words := _read(entry)) is not None
        ),
        "addresses": len([path for path in (root / "cni" / "ipam").rglob("10.*") if path.is_file()]),
        "routes": len([line for line in routes.stdout.splitlines() if "dev" in line]),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "containers": len(cluster.runtime.ctr("containers", "ls", "-q").stdout.split()),
        "snapshots": len(cluster.runtime.ctr("snapshots", "ls").stdout.splitlines()),
        "pod directories": len(list((root / "pods").iterdir())),
        "tasks": len([task for task in asyncio.all_tasks() if not task.done()]),
    }


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_nothing_is_left(cluster: Cluster) -> None:
    tree = {"metadata": {"name": "soak"}, "data": {"a": "b"}}
    await cluster.client.create_tree(ConfigMap.resource, tree, "default")
    await asyncio.gather(*(life(cluster, number, set()) for number in range(1, AT_ONCE)))
    await cluster.until(cluster.empty, "the first pods are gone", 60)
    gc.collect()
    before, resident = left(cluster, ()), _resident()
    began, namespaces, slots = time.monotonic(), set[str](), asyncio.Semaphore(AT_ONCE)

    async def limited(number: int) -> None:
        async with slots:
            await life(cluster, number, namespaces)

    await asyncio.gather(*(limited(number) for number in range(100, 100 + PODS)))
    took = time.monotonic() - began

    async def nothing() -> bool:
        gc.collect()
        return await cluster.empty() and all(n <= before[what] for what, n in left(cluster, namespaces).items())

    try:
        await cluster.until(nothing, "everything was given back", 90)
    except AssertionError as error:
        raise AssertionError(f"before {before}\nafter  {left(cluster, namespaces)}") from error
    grown = (_resident() - resident) / PODS
    print(f"{PODS} pods in {took:.0f} s, {PODS / took:.1f} a second; {grown / 1024:.1f} KiB more resident for each")
