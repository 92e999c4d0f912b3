"""Pods that exceed limits of their own, pods that find no room, and settings that make no sense."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.linux.usage import disk_usage
from pilothouse.node.eviction.admit import under_pressure, without_room
from pilothouse.node.eviction.limits import exceeded, has_limits
from pilothouse.node.eviction.rank import ContainerUse, PodUse, Space
from pilothouse.node.settings import InvalidSettings, Settings

MI = 1 << 20


def pod(limit: str = "", *, size: str = "", requests: dict[str, str] | None = None, **spec: Any) -> Pod:
    resources: dict[str, Any] = {"requests": requests or {}}
    if limit:
        resources["limits"] = {"ephemeral-storage": limit}
    volumes = [{"name": "cache", "emptyDir": {"sizeLimit": size} if size else {}}]
    containers = [{"name": "c", "image": "i", "resources": resources}]
    tree = {"metadata": {"name": "p"}, "spec": {"containers": containers, "volumes": volumes, **spec}}
    made: Pod = from_tree(Pod, tree)
    return made


def use(writable: int = 0, volumes: int = 0) -> PodUse:
    return PodUse(
        "u", "ns/p", volumes=Space(volumes * MI), containers=(ContainerUse("c", writable=Space(writable * MI)),)
    )


def test_a_volume_over_its_size() -> None:
    over = exceeded(pod(size="5Mi"), use(volumes=6), {"cache": 6 * MI})
    assert over == 'Usage of EmptyDir volume "cache" exceeds the limit "5Mi". '
    assert exceeded(pod(size="5Mi"), use(volumes=5), {"cache": 5 * MI}) == ""


def test_a_pod_over_the_limits_of_its_containers() -> None:
    over = exceeded(pod("10Mi"), use(writable=1, volumes=10), {})
    assert over == "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "


def test_a_container_over_its_own_limit() -> None:
    both = pod("10Mi")
    second = {"name": "d", "image": "i", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}
    both.spec.containers.append(from_tree(type(both.spec.containers[0]), second))
    over = exceeded(both, use(writable=11), {})
    assert over == 'Container c exceeded its local ephemeral storage limit "10Mi". '


def test_only_limited_pods_are_measured() -> None:
    assert has_limits(pod("1Gi"))
    assert has_limits(pod(size="1Gi"))
    assert not has_limits(pod())


def test_a_node_under_pressure_takes_only_some() -> None:
    asking = pod(requests={"memory": "1Mi"})
    refused = under_pressure(pod(), {"MemoryPressure"})
    assert refused is not None
    assert (refused.reason, refused.message) == (
        "Evicted",
        "Pod was rejected: The node had condition: [MemoryPressure]. ",
    )
    assert under_pressure(asking, {"MemoryPressure"}) is None
    assert under_pressure(asking, {"MemoryPressure", "DiskPressure"}) is not None
    assert under_pressure(pod(priority=2_000_000_000), {"DiskPressure"}) is None
    toleration = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
    assert under_pressure(pod(tolerations=[toleration]), {"MemoryPressure"}) is None
    assert under_pressure(pod(), set()) is None


def test_a_full_node_says_of_what() -> None:
    room = {"cpu": "2", "memory": "1Gi", "pods": "2"}
    one = pod(requests={"cpu": "1500m"})
    refused = without_room(one, [one], room)
    assert refused is not None
    assert refused.reason == "OutOfcpu"
    assert refused.message == (
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1500, capacity: 2000"
    )
    assert without_room(one, [], room) is None
    full = without_room(pod(), [pod(), pod()], room)
    assert full is not None
    assert full.reason == "OutOfpods"


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (Settings(eviction_hard={"memory.free": "1"}), "unknown signal 'memory.free'"),
        (Settings(eviction_hard={"memory.available": "much"}), "'much' is neither a quantity"),
        (Settings(eviction_hard={"nodefs.available": "110%"}), "is not between 0% and 100%"),
        (Settings(eviction_soft={"nodefs.available": "15%"}), "needs a positive number of seconds"),
        (Settings(system_reserved={"gpu": "1"}), "unknown resource 'gpu'"),
        (Settings(image_gc_high_threshold_percent=10), "must be at most image_gc_high_threshold_percent"),
        (Settings(container_log_max_files=1), "container_log_max_files must be at least 2"),
    ],
)
def test_settings_that_make_no_sense(settings: Settings, what: str) -> None:
    with pytest.raises(InvalidSettings, match=what):
        settings.check()


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "a").write_bytes(b"x" * MI)
    os.link(tmp_path / "dir" / "a", tmp_path / "b")
    used, inodes = disk_usage(tmp_path)
    assert MI <= used < 1.5 * MI
    assert inodes == 3
    assert disk_usage(tmp_path / "nothing") == (0, 0)
