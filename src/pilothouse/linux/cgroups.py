"""Control groups of pods: made, limited and removed, on cgroup v1 (hybrid too) and v2.

The runtime makes a container's own group below the one it is given, but sets no limits on it and, on v1, leaves it
behind in every hierarchy when the pod is gone.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_PERIOD_US = 100_000
_V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb")
_LIMITED_V1 = ("cpu", "memory", "pids")


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What a group is held to; 0 means that nothing is set. Shares are v1's (2 to 262144)."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    memory_bytes: int = 0
    pids: int = 0


class Cgroups:
    """The control groups of this host. `path` arguments are absolute within the hierarchy, as in `/pods/x`."""

    def __init__(self, root: str | Path = "/sys/fs/cgroup") -> None:
        self._root = Path(root)
        self.unified = (self._root / "cgroup.controllers").exists()
        self._hierarchies = [] if self.unified else _hierarchies(self._root)

    @property
    def limits_huge_pages(self) -> bool:
        """Whether runtimes can bound what a group uses of huge pages."""
        if self.unified:
            return "hugetlb" in (self._root / "cgroup.controllers").read_text().split()
        return any("hugetlb" in names for names, _ in self._hierarchies)

    def create(self, path: str, limits: GroupLimits | None = None) -> None:
        """Makes a group and its parents, and sets its limits. Raises OSError."""
        if self.unified:
            self._create_unified(path)
        else:
            for directory in self._v1(path, _LIMITED_V1):
                directory.mkdir(parents=True, exist_ok=True)
        if limits is not None:
            self.limit(path, limits)

    def limit(self, path: str, limits: GroupLimits) -> None:
        """Sets the limits that are given. Raises OSError."""
        for name, value in (self._v2_files(limits) if self.unified else self._v1_files(limits)).items():
            controller, _, _ = name.partition(".")
            for directory in [self._root / path.lstrip("/")] if self.unified else self._v1(path, (controller,)):
                with contextlib.suppress(FileNotFoundError):
                    (directory / name).write_text(value)

    def allow_swap(self, path: str, allowed: bool) -> None:
        """Whether what runs in a group may be swapped out; on v1 that holds for groups that are made afterwards."""
        v1, v2 = ("60", "max") if allowed else ("0", "0")
        name, value = ("memory.swap.max", v2) if self.unified else ("memory.swappiness", v1)
        for directory in [self._root / path.lstrip("/")] if self.unified else self._v1(path, ("memory",)):
            with contextlib.suppress(OSError):  # a kernel that does not account for swap
                (directory / name).write_text(value)

    def remove(self, path: str) -> bool:
        """Removes a group with all below it, in every hierarchy; False when processes are still in it."""
        gone = True
        for directory in [self._root / path.lstrip("/")] if self.unified else self._v1(path, None):
            gone = _remove_tree(directory) and gone
        return gone

    def children(self, path: str) -> list[str]:
        """Names of the groups directly below one, in any hierarchy."""
        names: set[str] = set()
        for directory in [self._root / path.lstrip("/")] if self.unified else self._v1(path, None):
            with contextlib.suppress(OSError):
                names |= {entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)}
        return sorted(names)

    def _v1(self, path: str, controllers: tuple[str, ...] | None) -> list[Path]:
        chosen = [
            mount for names, mount in self._hierarchies if controllers is None or any(c in names for c in controllers)
        ]
        return [mount / path.lstrip("/") for mount in chosen]

    def _create_unified(self, path: str) -> None:
        available = (self._root / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{name}" for name in _V2_CONTROLLERS if name in available)
        current = self._root
        for part in Path(path.lstrip("/")).parts:
            with contextlib.suppress(OSError):
                # A controller that is refused here leaves its limits unset; the group itself is still of use.
                (current / "cgroup.subtree_control").write_text(wanted)
            current = current / part
            current.mkdir(exist_ok=True)

    @staticmethod
    def _v1_files(limits: GroupLimits) -> dict[str, str]:
        files: dict[str, str] = {}
        if limits.cpu_shares:
            files["cpu.shares"] = str(limits.cpu_shares)
        if limits.cpu_quota_us:
            files["cpu.cfs_period_us"] = str(_PERIOD_US)
            files["cpu.cfs_quota_us"] = str(limits.cpu_quota_us)
        if limits.memory_bytes:
            files["memory.limit_in_bytes"] = str(limits.memory_bytes)
        if limits.pids:
            files["pids.max"] = str(limits.pids)
        return files

    @staticmethod
    def _v2_files(limits: GroupLimits) -> dict[str, str]:
        files: dict[str, str] = {}
        if limits.cpu_shares:
            files["cpu.weight"] = str(weight(limits.cpu_shares))
        if limits.cpu_quota_us:
            files["cpu.max"] = f"{limits.cpu_quota_us} {_PERIOD_US}"
        if limits.memory_bytes:
            files["memory.max"] = str(limits.memory_bytes)
        if limits.pids:
            files["pids.max"] = str(limits.pids)
        return files


def weight(shares: int) -> int:
    """cgroup v2's cpu.weight (1 to 10000) for v1's shares, by the runtimes' linear rule."""
    return 1 + (max(2, min(262_144, shares)) - 2) * 9999 // 262_142


def _hierarchies(root: Path) -> list[tuple[frozenset[str], Path]]:
    """The controllers and mount point of each v1 hierarchy, and of the v2 one beside them."""
    found: list[tuple[frozenset[str], Path]] = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and Path(point).is_relative_to(root):
            found.append((frozenset(options.split(",")) if kind == "cgroup" else frozenset(), Path(point)))
    return found


def _remove_tree(directory: Path) -> bool:
    """Removes a group's directory bottom up; True when it is gone."""
    try:
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(Path(entry.path))
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
