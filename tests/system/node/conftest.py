"""A containerd of the tests' own, a node on it, and an API server in memory. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from node_cluster import NODE_ADDRESS, NODE_NAME, POD_RANGE, Cluster, Runtime, end_shims, import_images

from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.config import Config
from pilothouse.launch.containerd import import_pause_image, write_configuration
from pilothouse.linux.cgroups import Cgroups
from pilothouse.linux.host import detect
from pilothouse.linux.mounts import unmount_below
from pilothouse.machinery.errors import AlreadyExists
from pilothouse.network.cni import write_cni_config
from pilothouse.testing.control_plane import ControlPlane


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = Path("/tmp") / f"ph-node-{os.getpid()}"
    root.mkdir()
    config = Config(
        data_dir=str(root), node_name=NODE_NAME, node_address=NODE_ADDRESS, pod_range="10.231.0.0/16", listen=[]
    )
    subprocess.run(["ip", "route", "replace", "unreachable", str(POD_RANGE), "metric", "9999"], check=True)
    host = detect()
    write_configuration(config, host)
    write_cni_config(config.path("cni", "net.d"), config.path("cni", "ipam"), (POD_RANGE,), 1400)
    made = Runtime(root, config)
    made.start()
    try:
        import_pause_image(config, host)
        import_images(made)
        yield made
        made.remove_everything()
    finally:
        made.kill()
        end_shims(root)
        unmount_below(root)
        Cgroups().remove(config.cgroup_root)
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["ip", "route", "del", "unreachable", str(POD_RANGE), "metric", "9999"], check=False)


@pytest.fixture
async def cluster(runtime: Runtime) -> AsyncIterator[Cluster]:
    async with ControlPlane() as plane:
        made = Cluster(plane, plane.client(), runtime)
        for name in ("default", "kube-system", "kube-node-lease"):
            path = "/api/v1/namespaces"
            with contextlib.suppress(AlreadyExists):
                await made.client.request("POST", path, body={"metadata": {"name": name}})
        made.start_node()
        yield made
        for pod in (await made.client.list(Pod, "default")).items:
            await made.delete(pod.name, grace=0)
        await made.until(made.empty, "nothing runs any more")
        await made.stop_node()
