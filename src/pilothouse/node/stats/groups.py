"""What control groups have used, read from the kernel's files: v1, hybrid and v2."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group, or the whole host, had used at a moment. Times are seconds since the epoch."""

    time: float
    cpu_ns: int
    """CPU time since the group was made, in nanoseconds."""
    memory_bytes: int
    working_set_bytes: int
    """What cannot be taken back without harm: usage less the file cache that was not used lately."""
    rss_bytes: int
    page_faults: int = 0
    major_page_faults: int = 0
    available_bytes: int | None = None
    """What is left below the group's limit; None without one."""


class GroupReader:
    """Reads groups by their path within the hierarchy, as in `/pods/x`."""

    def __init__(self, root: str = "/sys/fs/cgroup") -> None:
        self.unified = os.path.exists(f"{root}/cgroup.controllers")
        self._root = root
        self._cpu = root if self.unified else _mount_of(root, "cpuacct")
        self._memory = root if self.unified else _mount_of(root, "memory")
        self._pids = root if self.unified else _mount_of(root, "pids")

    def read(self, path: str) -> Usage | None:
        """None when the group is gone."""
        try:
            return self._v2(self._root + path) if self.unified else self._v1(self._cpu + path, self._memory + path)
        except OSError:
            # ENODEV as well as ENOENT: the group was removed while it was read.
            return None

    def processes(self, path: str) -> int:
        """How many processes and threads a group has, those below it counted; 0 when it is gone or not counted."""
        try:
            return int(_text(f"{self._pids}{path}/pids.current"))
        except (OSError, ValueError):
            return 0

    def first_process(self, path: str) -> int | None:
        """A process of the group; None when there is none."""
        try:
            return int(_text(f"{self._cpu}{path}/cgroup.procs").split(None, 1)[0])
        except (OSError, IndexError, ValueError):
            return None

    def _v1(self, cpu: str, memory: str) -> Usage:
        stat = _table(f"{memory}/memory.stat")
        usage = int(_text(f"{memory}/memory.usage_in_bytes"))
        working = max(0, usage - stat.get("total_inactive_file", 0))
        limit = stat.get("hierarchical_memory_limit", 0)
        return Usage(
            time=time.time(),
            cpu_ns=int(_text(f"{cpu}/cpuacct.usage")),
            memory_bytes=usage,
            working_set_bytes=working,
            rss_bytes=stat.get("total_rss", 0),
            page_faults=stat.get("total_pgfault", 0),
            major_page_faults=stat.get("total_pgmajfault", 0),
            # Without a limit the kernel shows the largest page-aligned number.
            available_bytes=max(0, limit - working) if 0 < limit < 1 << 62 else None,
        )

    @staticmethod
    def _v2(group: str) -> Usage:
        stat = _table(f"{group}/memory.stat")
        usage = int(_text(f"{group}/memory.current"))
        working = max(0, usage - stat.get("inactive_file", 0))
        limit = _text(f"{group}/memory.max").strip()
        return Usage(
            time=time.time(),
            cpu_ns=_table(f"{group}/cpu.stat").get("usage_usec", 0) * 1000,
            memory_bytes=usage,
            working_set_bytes=working,
            rss_bytes=stat.get("anon", 0),
            page_faults=stat.get("pgfault", 0),
            major_page_faults=stat.get("pgmajfault", 0),
            available_bytes=None if limit == "max" else max(0, int(limit) - working),
        )


def host_usage() -> Usage:
    """The whole host's. The root group of v2 has no memory files, so /proc is read under every version."""
    memory = {name: value * 1024 for name, value in _table("/proc/meminfo").items()}
    used = memory["MemTotal"] - memory["MemFree"]
    working = max(0, used - memory.get("Inactive(file)", 0))
    faults = _table("/proc/vmstat")
    return Usage(
        time=time.time(),
        cpu_ns=_host_cpu(),
        memory_bytes=used,
        working_set_bytes=working,
        rss_bytes=memory.get("AnonPages", 0),
        page_faults=faults.get("pgfault", 0),
        major_page_faults=faults.get("pgmajfault", 0),
        available_bytes=max(0, memory["MemTotal"] - working),
    )


def _host_cpu() -> int:
    fields = [int(field) for field in _text("/proc/stat").split("\n", 1)[0].split()[1:]]
    # user nice system idle iowait irq softirq steal (guest time is part of user time)
    busy = sum(fields[:3]) + sum(fields[5:8])
    return busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _mount_of(root: str, controller: str) -> str:
    """Where a v1 controller is mounted: on some hosts beside others, as in `cpu,cpuacct`."""
    if os.path.isdir(f"{root}/{controller}"):
        return f"{root}/{controller}"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup" and controller in options.split(","):
            return point
    return f"{root}/{controller}"


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()


def _table(path: str) -> dict[str, int]:
    """Lines of a name and a number (`name 1`, `name: 1 kB`)."""
    table = {}
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdigit():
            table[words[0].rstrip(":")] = int(words[1])
    return table
