"""Whatever is damaged is told of by its reader: no parser ends by an error of its own."""

from __future__ import annotations

import gzip
import json
import lzma
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from backports.zstd import compress
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from known_layers import DEBIAN, docker_archive, jar, pom_properties, rpm_header, status, tar_of
from test_csaf import RED_HAT, SUSE
from test_feeds import UBUNTU, all_zip, tar_of_records
from test_lockfiles import FILES as LOCKFILES
from test_programs import AUDIT, program
from test_rpm_files import berkeley, ndb

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.update import Updater
from pilothouse.guard.images.inventory.directory import directory_inventory
from pilothouse.guard.images.inventory.layer import read_layer
from pilothouse.guard.images.inventory.limits import Limits
from pilothouse.guard.images.inventory.sbom import sbom_inventory
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import Inventory, NotReadable, Package, Placed, System
from pilothouse.guard.images.report import FORMATS
from pilothouse.guard.images.report.document import ScanOutcome, subject_of
from pilothouse.guard.images.scan.reader import LayerReader
from pilothouse.guard.images.source.archive import images_in

TOKENS = (
    b"",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"{",
    b"[",
    b'"',
    b"\n",
    b":",
    b"\xc3(",
    b"\xed\xa0\x80",
)
DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.integers(0, 64), st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8))
    ),
    max_size=4,
)
"""Where, how many bytes go, and what comes in their place."""
CUT = st.one_of(st.just(1.0), st.floats(0, 1))
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damaged(data: bytes, damage: list[tuple[float, int, bytes]], cut: float) -> bytes:
    found = bytearray(data)
    for where, gone, instead in damage:
        at = int(where * len(found))
        found[at : at + gone] = instead
    return bytes(found[: int(cut * len(found))])


def sqlite(header: bytes) -> bytes:
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    base.execute("INSERT INTO Packages VALUES (1, ?)", (header,))
    base.commit()
    return base.serialize()


HEADER = rpm_header(
    {1000: (6, "a"), 1001: (6, "1"), 1002: (6, "2"), 1116: (4, [0]), 1117: (8, ["x"]), 1118: (8, ["/"])}
)
MODULES = b"path\tx\nmod\tgithub.com/a/b\tv1.0.0\th1:x\ndep\tgolang.org/x/net\tv0.1.0\th1:y\n"
GO = (
    b"\xff Go buildinf:\x08\x02"
    + bytes(16)
    + b"\x08go1.22.1"
    + bytes([32 + len(MODULES)])
    + bytes(16)
    + MODULES
    + bytes(16)
)
MEMBERS: dict[str, tuple[bytes, int]] = {
    "etc/os-release": (DEBIAN, 0o644),
    "var/lib/dpkg/status": (status(("a", "1:2~3-4+b1", "b (3)"), ("c", "1", "")), 0o644),
    "var/lib/dpkg/status.d/a": (status(("a", "1", "")), 0o644),
    "lib/apk/db/installed": (b"C:Q1=\nP:musl\nV:1.2.5-r0\nA:x86_64\no:musl\nF:lib\nR:ld.so\na:0:0:755\n\n", 0o644),
    "var/lib/rpm/rpmdb.sqlite": (sqlite(HEADER), 0o644),
    "var/lib/rpm/Packages": (berkeley([HEADER, HEADER * 20]), 0o644),
    "usr/lib/sysimage/rpm/Packages.db": (ndb([HEADER]), 0o644),
    "a/x-1.dist-info/METADATA": (b"Metadata-Version: 2.1\nName: x\nVersion: 1\n", 0o644),
    "n/node_modules/@s/p/package.json": (b'{"name":"@s/p","version":"1.0.0"}', 0o644),
    "j/a-1.0.jar": (
        jar({**pom_properties("g", "a", "1"), "lib/in-2.0.jar": jar({"META-INF/MANIFEST.MF": b"A: b\n"})}),
        0o644,
    ),
    "usr/bin/go": (b"\x7fELF".ljust(1024, b"\0") + GO.ljust(66_000, b"\0"), 0o755),
    "usr/bin/rust": (program(zlib.compress(json.dumps(AUDIT).encode()), size=66_000), 0o755),
    "d/a.deps.json": (b'{"libraries":{"N/1.0":{"type":"package"}}}', 0o644),
    "p/composer/installed.json": (b'{"packages":[{"name":"a/b","version":"v1"}]}', 0o644),
}


@QUICK
@given(st.sampled_from(sorted(MEMBERS)), DAMAGE, CUT)
def test_files_of_a_layer(path: str, damage: list[tuple[float, int, bytes]], cut: float) -> None:
    data, mode = MEMBERS[path]
    pieces = [tar_of({path: (damaged(data, damage, cut), mode)})]
    record = read_layer(pieces, Limits())
    if record.missing:
        record = read_layer(pieces, Limits(), frozenset(record.missing))
    assert not [problem for problem in record.problems if "reading it failed" in problem.reason]


@QUICK
@given(DAMAGE, CUT, st.booleans())
def test_layers(damage: list[tuple[float, int, bytes]], cut: float, packed: bool) -> None:
    data = tar_of({path: MEMBERS[path] for path in ("etc/os-release", "a/x-1.dist-info/METADATA")})
    broken = damaged(gzip.compress(data, 1) if packed else data, damage, cut)
    with suppress(NotReadable):
        read_layer([broken], Limits())


SBOM = Inventory("x", "image", system=System("debian", "12"), packages=(Placed(Package("deb", "a", "1", "b", "1")),))


@QUICK
@given(st.sampled_from(["cyclonedx", "spdx"]), DAMAGE, CUT)
def test_sboms(tmp_path: Path, form: str, damage: list[tuple[float, int, bytes]], cut: float) -> None:
    file = tmp_path / "bom.json"
    text = FORMATS[form](ScanOutcome((subject_of(Result(SBOM, (), ())),)))
    file.write_bytes(damaged(text.encode(), damage, cut))
    with suppress(NotReadable):
        assert sbom_inventory(file).packages


@QUICK
@given(st.sampled_from(sorted(LOCKFILES)), DAMAGE, CUT)
def test_lockfiles(tmp_path: Path, name: str, damage: list[tuple[float, int, bytes]], cut: float) -> None:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(damaged(LOCKFILES[name][0].encode(), damage, cut))
    found = directory_inventory(folder)
    assert all(problem.path == name for problem in found.problems)


def lines(*records: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()


RELEASE = {"status": "resolved", "fixed_version": "1", "urgency": "high", "repositories": {"bookworm": "1"}}
EXPLOITED = {"cveID": "CVE-2024-1", "dateAdded": "2024-01-01"}
FEEDS = {
    "all.zip": all_zip(UBUNTU),
    "records.tar.xz": lzma.compress(tar_of_records(UBUNTU)),
    "records.tar.zst": compress(tar_of_records(UBUNTU)),
    "record.json": lines(UBUNTU),
    "records.jsonl": lines(UBUNTU, {**UBUNTU, "id": "UBUNTU-CVE-2024-2"}),
    "red-hat.json": lines(RED_HAT),
    "suse.json": lines(SUSE),
    "tracker.json": lines({"openssl": {"CVE-2024-1": {"description": "x", "releases": {"bookworm": RELEASE}}}}),
    "main.json": lines(
        {"distroversion": "v3.20", "packages": [{"pkg": {"name": "a", "secfixes": {"1": ["CVE-2024-1"]}}}]}
    ),
    "epss.csv.gz": gzip.compress(b"#model_version:v1\ncve,epss,percentile\nCVE-2024-1,0.5,0.9\n"),
    "kev.json": lines({"catalogVersion": "1", "vulnerabilities": [EXPLOITED]}),
}


@pytest.fixture
def base() -> Iterator[Base]:
    base = Base(None)
    yield base
    base.close()


@QUICK
@given(st.sampled_from(sorted(FEEDS)), DAMAGE, CUT)
def test_feeds(base: Base, tmp_path: Path, name: str, damage: list[tuple[float, int, bytes]], cut: float) -> None:
    file = tmp_path / name
    file.write_bytes(damaged(FEEDS[name], damage, cut))
    for result in Updater(base, tmp_path / "downloads").from_path(file):
        assert (result.counts is None) or not result.error
    assert not base.connection.in_transaction


@QUICK
@given(DAMAGE, CUT)
def test_archives(tmp_path: Path, damage: list[tuple[float, int, bytes]], cut: float) -> None:
    file = docker_archive(tmp_path / "image.tar", [tar_of({"etc/os-release": DEBIAN})])
    file.write_bytes(damaged(file.read_bytes(), damage, cut))
    with suppress(NotReadable):
        for image in images_in(file, "linux/amd64", Limits()):
            for layer in image.layers:
                assert sum(map(len, image.blob(layer)))


def test_the_worker_answers_about_every_damaged_layer() -> None:
    whole = tar_of(MEMBERS)
    with LayerReader() as reader:
        for number in range(1, 20):
            blocks = len(whole) * number // 20 // 512
            with pytest.raises(NotReadable, match="ends too early"):
                reader.read(_once(whole[: blocks * 512 - 100]))
        assert len(reader.read(_once(whole)).packages) == len(MEMBERS) - 1


def _once(data: bytes) -> Callable[[], list[bytes]]:
    return lambda: [data]
