from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from known_layers import rpm_header, tar_of

from pilothouse.guard.images.inventory.layer import read_layer
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.inventory.rpm import read_database
from pilothouse.guard.images.inventory.rpm_files import berkeley_headers, ndb_headers
from pilothouse.guard.images.model import NotReadable

HEADERS = st.lists(st.binary(min_size=1, max_size=3000), max_size=6)
PAGE = 512


def ndb(headers: list[bytes]) -> bytes:
    """A Packages.db as RPM writes it: slots, then blobs of blocks of 16 bytes."""
    slots, blobs = b"", b""
    for number, header in enumerate(headers, 1):
        size = -(-(16 + len(header) + 12) // 16) * 16
        slots += struct.pack("<4sIII", b"Slot", number, (4096 + len(blobs)) // 16, size // 16)
        body = struct.pack("<4sIII", b"BlbS", number, 1, len(header)) + header
        body = body.ljust(size - 12, b"\0")
        blobs += body + struct.pack("<II4s", zlib.adler32(body), len(header), b"BlbE")
    slots += struct.pack("<4sIII", b"Slot", 0, 0, 0) * ((4096 - 32 - len(slots)) // 16)
    return struct.pack("<4sIIIIIII", b"RpmP", 0, 1, 1, len(headers) + 1, 0, 0, 0) + slots + blobs


def berkeley(headers: list[bytes], order: str = "<") -> bytes:
    """A hash of Berkeley DB: a page that describes it, one page of items, pages for what is too large for one."""

    def page(number: int, following: int, entries: int, free: int, kind: int) -> bytes:
        return struct.pack(f"{order}QIIIHHBB", 0, number, 0, following, entries, free, 0, kind)

    items: list[bytes] = []
    pages: list[bytes] = []
    for number, header in enumerate([b"\3\0\0\0", *headers]):
        items.append(b"\1" + struct.pack(f"{order}I", number))
        if len(header) <= 20:
            items.append(b"\1" + header)
            continue
        items.append(struct.pack(f"{order}B3xII", 3, 2 + len(pages), len(header)))
        parts = [header[at : at + PAGE - 26] for at in range(0, len(header), PAGE - 26)]
        for left, part in zip(reversed(range(len(parts))), parts):
            own = 2 + len(pages)
            pages.append((page(own, own + 1 if left else 0, 1, len(part), 7) + part).ljust(PAGE, b"\0"))
    offsets, end = [], PAGE
    for item in items:
        end -= len(item)
        offsets.append(end)
    index = struct.pack(f"{order}{len(offsets)}H", *offsets)
    body = page(1, 0, len(items), end, 13) + index
    table = body.ljust(end, b"\0") + b"".join(reversed(items))
    described = struct.pack(f"{order}QIIIIBBBBIII", 0, 0, 0x061561, 9, PAGE, 0, 8, 0, 0, 0, 1 + len(pages), 0)
    return described.ljust(PAGE, b"\0") + table + b"".join(pages)


@given(HEADERS)
def test_ndb_gives_back_what_was_written(headers: list[bytes]) -> None:
    assert list(ndb_headers(ndb(headers))) == headers


@given(HEADERS, st.sampled_from("<>"))
def test_berkeley_db_gives_back_what_was_written(headers: list[bytes], order: str) -> None:
    assert list(berkeley_headers(berkeley(headers, order))) == headers


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([ndb, berkeley]), HEADERS, st.lists(st.tuples(st.integers(0), st.integers(0, 255))), st.integers(0)
)
@example(berkeley, [b"x" * 2000], [(2 * PAGE + 16, 2)], 0)
def test_damaged_files_are_told_of(kind: object, headers: list[bytes], damage: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(kind(headers))  # type: ignore[operator]
    for at, value in damage:
        data[at % len(data)] = value
    del data[len(data) - cut % len(data) :]
    with suppress(NotReadable):  # and by nothing else
        packages, owned = read_database(data, "var/lib/rpm/Packages")
        assert len(packages) <= len(headers)
        assert not owned


def test_pages_that_lead_in_a_circle_are_followed_once() -> None:
    data = bytearray(berkeley([b"x" * 2000]))
    struct.pack_into("<I", data, 3 * PAGE + 16, 2)
    with pytest.raises(NotReadable, match="circle"):
        list(berkeley_headers(data))


@pytest.mark.skipif(shutil.which("db5.3_load") is None, reason="db5.3-util is not installed")
@pytest.mark.parametrize("settings_", [[], ["db_lorder=4321"], ["db_pagesize=512"], ["db_pagesize=65536"]])
def test_files_of_berkeley_db_itself(settings_: list[str], tmp_path: Path) -> None:
    headers = {number: bytes([number]) * size for number, size in ((1, 10), (2, 3000), (3, 200_000))}
    records = [(0, struct.pack("<I", len(headers))), *headers.items()]
    lines = ["VERSION=3", "format=bytevalue", "type=hash", *settings_, "HEADER=END"]
    lines += [f" {text}" for key, value in records for text in (struct.pack("<I", key).hex(), value.hex())]
    file = tmp_path / "Packages"
    subprocess.run(["db5.3_load", str(file)], input="\n".join([*lines, "DATA=END\n"]), text=True, check=True)
    assert sorted(berkeley_headers(file.read_bytes())) == sorted(headers.values())


@pytest.mark.parametrize(
    ("path", "kind"), [("var/lib/rpm/Packages", berkeley), ("usr/lib/sysimage/rpm/Packages.db", ndb)]
)
def test_a_layer_has_the_packages_of_older_forms(path: str, kind: object) -> None:
    tags = {1000: (6, "openssl-libs"), 1001: (6, "1.0.2k"), 1002: (6, "26.el7_9"), 1003: (4, [1])}
    data: bytes = kind([rpm_header(tags | {1044: (6, "openssl-1.0.2k-26.el7_9.src.rpm")})])  # type: ignore[operator]
    record = read_layer([tar_of({path: data})], Limits())
    (package,) = record.packages[path]
    assert (package.name, package.version, package.source) == ("openssl-libs", "1:1.0.2k-26.el7_9", "openssl")
    assert not record.problems
