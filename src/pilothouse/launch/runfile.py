"""Which processes of the engine run: a file each in D/run, with pid and start time so that no reused pid is mistaken.

Standard library only: the supervisor stays small.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """A live process of the engine; `started` is in clock ticks since boot."""

    name: str
    pid: int
    started: int


def start_ticks(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot, None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def write(run_dir: Path, name: str, pid: int) -> None:
    """Records that `name` runs as `pid`."""
    started = start_ticks(pid)
    path = run_dir / f"{name}.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": pid, "started": started, "boot": _boot_id()}))
    os.replace(fresh, path)


def read(run_dir: Path, name: str) -> Running | None:
    """The live process recorded under that name."""
    try:
        tree = json.loads((run_dir / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    pid, started = tree.get("pid"), tree.get("started")
    if tree.get("boot") != _boot_id() or not isinstance(pid, int) or start_ticks(pid) != started:
        return None
    return Running(name, pid, started)


def forget(run_dir: Path, name: str) -> None:
    """Removes the record."""
    (run_dir / f"{name}.json").unlink(missing_ok=True)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
