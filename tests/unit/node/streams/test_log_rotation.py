"""Which rotated logs go, and that a failed rotation leaves the log as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.node.streams.process import process_of
from pilothouse.node.streams.rotation import RotationLimits, RunningLog, look_after, rotate, to_remove


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_the_oldest_go() -> None:
    names = ["0.log", "0.log.20260101-000001.gz", "0.log.20260101-000003", "0.log.20260101-000002.gz", "1.log.x"]
    assert to_remove("0.log", names, 2) == ["0.log.20260101-000001.gz"]
    assert to_remove("0.log", names, 3) == []
    assert len(to_remove("0.log", names, 0)) == 3


async def test_a_runtime_that_does_not_reopen_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("lines")

    async def fail(container_id: str) -> None:
        raise OSError(f"no container {container_id}")

    with pytest.raises(OSError, match="no container c1"):
        await rotate(RunningLog("c1", str(path)), fail, RotationLimits(), 0.0)
    assert names(tmp_path) == ["0.log"]
    assert path.read_text() == "lines"


async def test_a_rotation_cut_short_is_finished(tmp_path: Path) -> None:
    reopened = []

    async def reopen(container_id: str) -> None:
        reopened.append(container_id)

    path = tmp_path / "0.log"
    entry = RunningLog("c1", str(path))
    await look_after(entry, reopen, RotationLimits())
    assert reopened == ["c1"]
    path.write_text("lines")
    await look_after(entry, reopen, RotationLimits())
    assert reopened == ["c1"]


async def test_only_so_many_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "0.log"

    async def reopen(container_id: str) -> None:
        path.write_text("new")

    for number in range(6):
        path.write_text(f"log {number}")
        await rotate(RunningLog("c1", str(path)), reopen, RotationLimits(files=3), float(number))
    assert names(tmp_path) == [
        "0.log",
        "0.log.19700101-000004.gz",
        "0.log.19700101-000005",
    ]


def test_a_terminal_gets_a_terminals_name() -> None:
    container = {"args": ["old"], "env": ["A=1", "TERM=dumb"], "cwd": "/", "consoleSize": {"height": 1, "width": 1}}
    assert process_of(container, ["sh"], terminal=False) == {
        "args": ["sh"],
        "env": ["A=1", "TERM=dumb"],
        "cwd": "/",
        "terminal": False,
    }
    assert process_of(container, ["sh"], terminal=True)["env"] == ["A=1", "TERM=xterm"]
