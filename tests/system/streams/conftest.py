"""A containerd of the tests' own, the node's API before it, and a client it lets in. Needs root."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from streams_bench import IMAGE, POD_RANGE, Bench, Certificates, Containerd, end_shims

from pilothouse.launch.config import Config
from pilothouse.launch.containerd import import_pause_image, write_configuration
from pilothouse.linux.cgroups import Cgroups
from pilothouse.linux.host import detect
from pilothouse.linux.mounts import unmount_below
from pilothouse.network.cni import write_cni_config
from pilothouse.node.api.server import NodeApi, server_context
from pilothouse.node.cri import Runtime
from pilothouse.node.state import PodTable
from pilothouse.node.streams.rotation import RotationLimits
from pilothouse.testing.images import Recipe, archive, build


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = Path("/tmp") / f"ph-streams-{os.getpid()}"
    root.mkdir()
    config = Config(data_dir=str(root), node_name="s1", node_address="127.0.0.1", pod_range="10.231.2.0/24", listen=[])
    subprocess.run(["ip", "route", "replace", "unreachable", str(POD_RANGE), "metric", "9999"], check=True)
    host = detect()
    path = write_configuration(config, host)
    write_cni_config(config.path("cni", "net.d"), config.path("cni", "ipam"), (POD_RANGE,), 1400)
    with (root / "containerd.log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(path)], stdout=log, stderr=log, start_new_session=True
        )
    made = Containerd(root, config)
    try:
        deadline = time.monotonic() + 20
        while made.ctr("version", check=False).returncode != 0:
            assert time.monotonic() < deadline, (root / "containerd.log").read_text()[-2000:]
            time.sleep(0.05)
        import_pause_image(config, host)
        busybox = Path("/bin/busybox").read_bytes()
        recipe = Recipe(executables={"usr/bin/busybox": busybox, "usr/bin/sh": busybox}, user="0")
        made.ctr("images", "import", "-", data=archive(build(recipe), IMAGE))
        yield made
    finally:
        process.kill()
        process.wait()
        end_shims(root)
        unmount_below(root)
        Cgroups().remove(config.cgroup_root)
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["ip", "route", "del", "unreachable", str(POD_RANGE), "metric", "9999"], check=False)


@pytest.fixture
async def bench(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Bench]:
    certificates = Certificates(tmp_path)
    runtime, pods = Runtime(containerd.config.containerd_socket), PodTable()
    api = NodeApi(
        pods,
        runtime,
        server_context(*certificates.issue("system:node:s1"), certificates.authority),
        node_name="s1",
        address="127.0.0.1",
        port=0,
        directory=containerd.root / "exec",
        cgroup_root=containerd.config.cgroup_root,
        rotation=RotationLimits(bytes=1 << 20, files=3),
    )
    serving = asyncio.create_task(api.run())
    await asyncio.wait_for(api.listening.wait(), 10)
    connector = aiohttp.TCPConnector(ssl=certificates.client("system:pilothouse:apiserver"), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        bench = Bench(containerd, runtime, pods, api, certificates, session)
        try:
            yield bench
        finally:
            for state in pods:
                await bench.remove(state)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    await runtime.close()
