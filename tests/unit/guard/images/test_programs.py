"""Packages that programs and their installers name: Rust, .NET, PHP."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_layers import tar_of

from pilothouse.guard.images.inventory.layer import read_layer
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.inventory.rust import read_program
from pilothouse.guard.images.model import LayerRecord, NotReadable

AUDIT = {
    "packages": [
        {"name": "app", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1]},
        {"name": "time", "version": "0.1.42", "source": "crates.io", "dependencies": [2]},
        {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
        {"name": "forked", "version": "1.0.0", "source": "git"},
    ]
}


def program(section: bytes, *, wide: bool = True, order: str = "<", size: int = 80_000) -> bytes:
    """An ELF file with a section of crates, as the compiler and cargo-auditable leave it."""
    names = b"\0.text\0.dep-v0\0.shstrtab\0"
    entry = struct.Struct(f"{order}IIQQQQIIQQ" if wide else f"{order}IIIIIIIIII")
    at = size
    parts = [(0, 0, 0), (7, at, len(section)), (15, at + len(section), len(names))]
    table = b"".join(entry.pack(name, 1, 0, 0, where, length, 0, 0, 1, 0) for name, where, length in parts)
    start = at + len(section) + len(names)
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if wide:
        head += struct.pack(f"{order}HHIQQQIHHHHHH", 2, 62, 1, 0, 0, start, 0, 64, 0, 0, entry.size, 3, 2)
    else:
        head += struct.pack(f"{order}HHIIIIIHHHHHH", 2, 3, 1, 0, 0, start, 0, 52, 0, 0, entry.size, 3, 2)
    return head.ljust(size, b"\0") + section + names + table


def read(files: dict[str, bytes | tuple[bytes, int]]) -> LayerRecord:
    """In two passes where that is asked for, as the reader of layers does."""
    data = tar_of(files)
    pieces = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    record = read_layer(pieces, Limits())
    return read_layer(pieces, Limits(), frozenset(record.missing)) if record.missing else record


@pytest.mark.parametrize(("wide", "order"), [(True, "<"), (True, ">"), (False, "<"), (False, ">")])
def test_crates_of_a_program(wide: bool, order: str) -> None:
    packed = zlib.compress(json.dumps(AUDIT).encode())
    record = read({"usr/bin/app": (program(packed, wide=wide, order=order), 0o755)})
    assert [(package.type, package.name, package.version) for package in record.packages["usr/bin/app"]] == [
        ("cargo", "time", "0.1.42")
    ]
    assert not record.missing
    assert not record.problems


@pytest.mark.parametrize(
    ("section", "reason"),
    [(b"no zlib", "broken"), (zlib.compress(b"{"), "broken"), (zlib.compress(b"[]" * (9 << 20), 9), "larger than")],
)
def test_a_broken_list_is_a_problem_of_that_program(section: bytes, reason: str) -> None:
    record = read({"usr/bin/app": (program(section), 0o755)})
    assert [problem.path for problem in record.problems] == ["usr/bin/app"]
    assert reason in record.problems[0].reason


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8), st.integers(0, 400))
def test_damaged_programs_are_told_of(damage: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(program(zlib.compress(json.dumps(AUDIT).encode()), size=128))
    for at, value in damage:
        data[at % len(data)] = value
    try:
        found = read_program(bytes(data[: len(data) - cut % len(data)]), "app")
    except NotReadable:
        return
    assert len(found) <= len(AUDIT["packages"])


def test_packages_of_dotnet() -> None:
    libraries = {
        "App/1.0.0": {"type": "project"},
        "Newtonsoft.Json/13.0.1": {"type": "package", "serviceable": True},
        "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"type": "runtimepack"},
    }
    tree = {"runtimeTarget": {"name": ".NETCoreApp,Version=v8.0"}, "libraries": libraries}
    record = read({"app/App.deps.json": json.dumps(tree).encode()})
    assert {(package.type, package.name, package.version) for package in record.packages["app/App.deps.json"]} == {
        ("nuget", "Newtonsoft.Json", "13.0.1"),
        ("nuget", "Microsoft.NETCore.App.Runtime.linux-x64", "8.0.1"),
    }


@pytest.mark.parametrize("whole", [True, False])
def test_packages_of_php(whole: bool) -> None:
    entries = [{"name": "symfony/http-foundation", "version": "v5.4.0"}, {"name": 1}, "x"]
    tree = {"packages": entries, "dev": False} if whole else entries
    path = "var/www/vendor/composer/installed.json"
    record = read({path: json.dumps(tree).encode(), "var/www/app.deps.json": b"{"})
    assert [(package.type, package.name, package.version) for package in record.packages[path]] == [
        ("composer", "symfony/http-foundation", "5.4.0")
    ]
    assert [problem.path for problem in record.problems] == ["var/www/app.deps.json"]
