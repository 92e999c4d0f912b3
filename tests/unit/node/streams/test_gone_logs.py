"""Logs of pods that are gone: found by name, read through attempts and rotated parts, removed by age and size."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from pilothouse.node.orphans import remove_logs
from pilothouse.node.streams.gone import find, read
from pilothouse.node.streams.log_line import LogOptions


def line(number: int) -> str:
    return f"2026-01-01T00:00:{number:02}.000000000Z stdout F line {number}\n"


def keep(root: Path, name: str, parts: dict[str, str], at: float = 1000.0, container: str = "main") -> Path:
    directory = root / name / container
    directory.mkdir(parents=True)
    for part, text in parts.items():
        path = directory / part
        path.write_bytes(gzip.compress(text.encode()) if part.endswith(".gz") else text.encode())
        os.utime(path, (at, at))
    return directory


async def text_of(directory: Path, **options: int) -> str:
    return b"".join([piece async for piece in read(directory, LogOptions(**options))]).decode()


def test_found_by_name(tmp_path: Path) -> None:
    keep(tmp_path, "shop_app_u1", {"0.log": line(1)}, at=20.0)
    keep(tmp_path, "shop_app-5d9c-x7k2p_u2", {"0.log": line(1), "1.log": line(2)}, at=10.0)
    keep(tmp_path, "shop_application_u3", {"0.log": line(1)})
    keep(tmp_path, "other_app_u4", {"0.log": line(1)})
    keep(tmp_path, "shop_app_u5", {"0.log": line(1)})
    exact = find(tmp_path, "shop", "app", {"u5"}, prefix=False)
    assert [(log.uid, log.attempts) for log in exact] == [("u1", 1)]
    wide = find(tmp_path, "shop", "app", {"u5"}, prefix=True)
    assert [(log.pod, log.attempts, log.ended) for log in wide] == [("app-5d9c-x7k2p", 2, 10.0), ("app", 1, 20.0)]


async def test_read_in_the_order_it_was_written(tmp_path: Path) -> None:
    parts = {
        "10.log": line(6),
        "9.log": line(5),
        "9.log.20260101-000002": line(4),
        "9.log.20260101-000001.gz": line(2) + line(3),
        "2.log": line(1),
        "2.log.tmp": "no part of it",
    }
    directory = keep(tmp_path, "ns_p_u", parts)
    assert await text_of(directory) == "".join(f"line {n}\n" for n in range(1, 7))
    assert await text_of(directory, tail_lines=3) == "line 4\nline 5\nline 6\n"
    assert await text_of(directory, limit_bytes=9) == "line 1\nli"


async def test_a_part_that_is_broken_is_passed_over(tmp_path: Path) -> None:
    directory = keep(tmp_path, "ns_p_u", {"0.log": line(2)})
    (directory / "0.log.20260101-000001.gz").write_bytes(gzip.compress(line(1).encode())[:-12])
    assert (await text_of(directory)).endswith("line 2\n")


def test_removed_by_age_and_size(tmp_path: Path) -> None:
    for name, at in (("ns_old_u1", 10.0), ("ns_big_u2", 900.0), ("ns_new_u3", 950.0), ("ns_known_u4", 1.0)):
        keep(tmp_path, name, {"0.log": "x" * 100}, at=at)

    def left() -> set[str]:
        return {path.name for path in tmp_path.iterdir()}

    remove_logs(tmp_path, {"ns_known_u4"}, 1000.0, 500.0, 10_000)
    assert left() == {"ns_big_u2", "ns_new_u3", "ns_known_u4"}
    remove_logs(tmp_path, {"ns_known_u4"}, 1000.0, 500.0, 150)
    assert left() == {"ns_new_u3", "ns_known_u4"}
