"""Control groups: which files hold which limits, on cgroup v2 (a directory stands for the file system)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.linux.cgroups import Cgroups, GroupLimits, weight


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    return tmp_path


def test_limits_of_a_unified_group(unified: Path) -> None:
    groups = Cgroups(unified)
    groups.create("/a/b", GroupLimits(cpu_shares=1024, cpu_quota_us=50_000, memory_bytes=1 << 20, pids=9))
    made = unified / "a" / "b"
    assert (made / "cpu.weight").read_text() == "39"
    assert (made / "cpu.max").read_text() == "50000 100000"
    assert (made / "memory.max").read_text() == str(1 << 20)
    assert (made / "pids.max").read_text() == "9"
    assert (unified / "a" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_what_is_not_limited_is_left_alone(unified: Path) -> None:
    Cgroups(unified).create("/a", GroupLimits())
    assert sorted(path.name for path in (unified / "a").iterdir()) == []


def test_groups_go_with_all_below_them(unified: Path) -> None:
    groups = Cgroups(unified)
    groups.create("/a/b/c")
    for path in unified.rglob("cgroup.subtree_control"):
        path.unlink()
    assert groups.children("/a") == ["b"]
    assert groups.remove("/a/b")
    assert groups.children("/a") == []
    assert groups.remove("/a/none")


def test_a_group_in_use_stays(unified: Path) -> None:
    groups = Cgroups(unified)
    groups.create("/a/b")
    (unified / "a" / "b" / "in-use").touch()
    assert not groups.remove("/a/b")


@pytest.mark.parametrize(("shares", "weights"), [(2, 1), (1024, 39), (262_144, 10_000)])
def test_weights(shares: int, weights: int) -> None:
    assert weight(shares) == weights


def test_whether_a_unified_group_may_be_swapped_out_and_use_of_huge_pages_bounded(unified: Path) -> None:
    groups = Cgroups(unified)
    groups.create("/a")
    assert not groups.limits_huge_pages
    groups.allow_swap("/a", False)
    assert (unified / "a" / "memory.swap.max").read_text() == "0"
    groups.allow_swap("/a", True)
    assert (unified / "a" / "memory.swap.max").read_text() == "max"
    (unified / "cgroup.controllers").write_text("cpu hugetlb memory\n")
    assert Cgroups(unified).limits_huge_pages
