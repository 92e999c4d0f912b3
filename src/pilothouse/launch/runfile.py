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
    """Records that `name` runs as `pid`. One that has ended by now is recorded too, and never read as running."""
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
    if not isinstance(pid, int) or not isinstance(started, int):
        return None
    if tree.get("boot") != _boot_id() or start_ticks(pid) != started:
        return None
    return Running(name, pid, started)


def forget(run_dir: Path, name: str) -> None:
    """Removes the record."""
    (run_dir / f"{name}.json").unlink(missing_ok=True)


def recover(data_dir: Path) -> list[str]:
    """Records processes of this data directory that run without a record, and returns their names.

    A supervisor killed in the moment between starting a process and recording it leaves such a one, which would go on
    holding sockets and database unknown to all.
    """
    run_dir = data_dir / "run"
    missing = {name: words for name, words in _marks(data_dir).items() if read(run_dir, name) is None}
    found = []
    for process in Path("/proc").iterdir() if missing and run_dir.is_dir() else ():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        for name, words in missing.items():
            if _has(command, words) and start_ticks(int(process.name)) is not None:
                write(run_dir, name, int(process.name))
                found.append(name)
    return found


def _marks(data_dir: Path) -> dict[str, list[bytes]]:
    """Words that follow one another in the command line of each process."""
    marks = {
        name: ["-m", f"pilothouse.launch.{name}", "--data-dir", str(data_dir)]
        for name in ("supervisor", "control", "node", "dns")
    }
    marks["ingress"] = ["-f", str(data_dir / "ingress" / "haproxy.cfg")]
    marks["containerd"] = ["--config", str(data_dir / "containerd" / "config.toml")]
    return {name: [word.encode() for word in words] for name, words in marks.items()}


def _has(command: list[bytes], words: list[bytes]) -> bool:
    return any(command[at : at + len(words)] == words for at in range(len(command) - len(words) + 1))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
