"""Huge pages on real containers: what is offered, what a container may use of them, volumes of them.

The test reserves some pages, and mounts the hugetlb controller where the host has it without a hierarchy of its own.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_cluster import NODE_NAME, Cluster, Runtime

from pilothouse.kinds.core.node import Node
from pilothouse.linux.cgroups import Cgroups
from pilothouse.node.refuse import Abilities

# On demand: the host is another one meanwhile, and the kernel takes its time to let go of the hierarchy.
pytestmark = [pytest.mark.system, pytest.mark.slow]

PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
HIERARCHY = Path("/sys/fs/cgroup/hugetlb")
SIZE, WANTED = 2 << 20, 8
USE = """\
busybox fallocate -l 4194304 /huge/a && echo four
busybox fallocate -l 2097152 /huge/b || echo no more
echo the end
exec sleep 1000
"""


def hierarchy() -> tuple[int, int]:
    """The number of the hierarchy that hugetlb is in (0 for the unified one), and of the groups in it."""
    lines = Path("/proc/cgroups").read_text().splitlines()
    _, number, groups, _ = next(line.split() for line in lines if line.startswith("hugetlb"))
    return int(number), int(groups)


def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 180
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def pages(runtime: Runtime) -> Iterator[None]:
    if not PAGES.exists():
        pytest.skip("this kernel has no huge pages of 2 MiB")
    before = PAGES.read_text()
    PAGES.write_text(str(WANTED))
    mounted = False
    try:
        if int(PAGES.read_text()) < WANTED:
            pytest.skip("no memory can be set aside for huge pages")
        if not Cgroups().limits_huge_pages:
            HIERARCHY.mkdir(exist_ok=True)
            command = ["mount", "-t", "cgroup", "-o", "hugetlb", "none", str(HIERARCHY)]
            mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
            if not mounted:
                pytest.skip("the hugetlb controller cannot be mounted")
            runtime.kill()  # containerd looks for the controller once
            runtime.start()
        yield
    finally:
        if mounted:
            # A hierarchy with groups in it outlives its mount, and then containerd finds none of its groups any more.
            for group in sorted(HIERARCHY.glob(f"{runtime.config.cgroup_root.lstrip('/')}/**/"), reverse=True):
                group.rmdir()
            until(lambda: hierarchy()[1] == 1, "the groups are gone")
            subprocess.run(["umount", str(HIERARCHY)], check=False)
            HIERARCHY.rmdir()
            until(lambda: hierarchy()[0] == 0, "the kernel has let go of the hierarchy")
        PAGES.write_text(before)


def bound(pid: int) -> int:
    """The most of 2 MiB pages that a process' control group may use."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "hugetlb" in controllers.split(","):
            return int((HIERARCHY / path.lstrip("/") / "hugetlb.2MB.limit_in_bytes").read_text())
        if not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return int((Path("/sys/fs/cgroup") / path.lstrip("/") / "hugetlb.2MB.max").read_text())
    raise AssertionError("the process is in no group of hugetlb")


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def mounts_of_pages(root: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if line.split()[2] == "hugetlbfs" and line.split()[1].startswith(str(root))]


async def test_huge_pages_are_offered_bounded_and_mounted(runtime: Runtime, pages: None, cluster: Cluster) -> None:
    await cluster.stop_node()
    cluster.start_node(abilities=Abilities(huge_pages=(SIZE,)))

    async def offered() -> bool:
        node = await cluster.client.find(Node, NODE_NAME)
        return node is not None and node.status.allocatable.get("hugepages-2Mi") == "16Mi"

    await cluster.until(offered, "the node offers its pages")
    amounts = {"limits": {"hugepages-2Mi": "4Mi", "memory": "64Mi"}}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/huge"}]}
    await cluster.create(
        "huge",
        {
            "containers": [
                {"command": ["sh", "-c", USE], "resources": amounts, **mount},
                {"command": ["sh", "-c", "exec sleep 1001"]},
            ],
            "volumes": [{"name": "v", "emptyDir": {"medium": "HugePages"}}],
        },
    )
    await cluster.ready("huge")

    async def said() -> str:
        text = cluster.log("huge", "c0")
        return text if "the end" in text else ""

    lines = str(await cluster.until(said, "the pages are used")).splitlines()
    assert [line for line in lines if line in ("four", "no more")] == ["four", "no more"]
    bounds = {command(pid): bound(pid) for _, pid in runtime.tasks()}
    assert (bounds["sleep 1000"], bounds["sleep 1001"]) == (4 << 20, 0)
    assert len(mounts_of_pages(runtime.root)) == 1
    await cluster.create("more", {"containers": [{"resources": {"limits": {"hugepages-2Mi": "14Mi", "cpu": "10m"}}}]})
    pod = await cluster.phase("more", "Failed")
    assert pod.status.reason == "OutOfhugepages-2Mi"
    assert pod.status.container_statuses == []
    await cluster.delete("huge")
    assert mounts_of_pages(runtime.root) == []
