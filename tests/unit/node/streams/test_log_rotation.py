"""Which rotated logs go, and that a failed rotation leaves the log as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.node.streams.log_file import read_log
from pilothouse.node.streams.log_line import LogOptions
from pilothouse.node.streams.process import process_of
from pilothouse.node.streams.rotation import RotationLimits, RunningLog, look_after, rotate, to_remove, too_much


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


def test_a_flood_leaves_no_more_than_its_share() -> None:
    """However large files have grown between two looks, together they keep to the limit; the newest stays."""
    sizes = {"0.log.20260101-000003": 60, "0.log.20260101-000002": 30, "0.log.20260101-000001.gz": 5}
    assert too_much(sizes, 100) == []
    assert too_much(sizes, 80) == ["0.log.20260101-000002", "0.log.20260101-000001.gz"]
    assert too_much({"0.log.20260101-000003": 600}, 80) == []


async def test_reading_goes_back_over_a_rotation(tmp_path: Path) -> None:
    def lines(first: int, last: int) -> str:
        return "".join(f"2026-01-01T00:00:0{n}.0Z stdout F {n}\n" for n in range(first, last + 1))

    log = tmp_path / "0.log"
    log.write_text(lines(4, 5))
    (tmp_path / "0.log.20260101-000001").write_text(lines(1, 3))

    async def text(tail: int | None) -> str:
        return b"".join([piece async for piece in read_log(log, LogOptions(tail_lines=tail))]).decode()

    assert (await text(None)).split() == ["1", "2", "3", "4", "5"]
    assert (await text(3)).split() == ["3", "4", "5"]
    assert (await text(1)).split() == ["5"]
    assert (await text(0)).split() == []
