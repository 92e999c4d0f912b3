"""Hostile layers in the worker that reads real ones: a clear error, bounded memory, nothing written outside."""

from __future__ import annotations

import io
import os
import resource
import signal
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from known_layers import DEBIAN, docker_archive, jar, status, tar_of, write_layout

from pilothouse.guard.images.inventory.limits import GIB, MIB, Limits
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.scan.inventory import take_inventory
from pilothouse.guard.images.scan.reader import LayerReader, WorkerLimits
from pilothouse.guard.images.source.archive import images_in


@pytest.fixture
def reader() -> Iterator[LayerReader]:
    with LayerReader(worker=WorkerLimits(memory=GIB, cpu=60, answer=120)) as reader:
        yield reader


def zeros(size: int, header: bytes = b"") -> Iterator[bytes]:
    """Gzip data that becomes so many zeros, without their being anywhere."""
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield press.compress(header) + press.flush(zlib.Z_FULL_FLUSH)
    block = press.compress(bytes(MIB)) + press.flush(zlib.Z_FULL_FLUSH)
    for _ in range(size // MIB):
        yield block


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def test_gigabytes_of_zeros_are_a_bomb(reader: LayerReader) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotReadable, match=r"grows more than 200 times .* a bomb"):
        reader.read(lambda: zeros(2 * GIB, header("zeros", 2 * GIB)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    good = tar_of({"etc/os-release": DEBIAN})
    assert reader.read(lambda: [good]).systems, "the worker goes on"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header("x", 1 << 40, b"x"), "extended header of"),
        (header("x", 1 << 40) + b"some", "ends too early"),
        (b"no tar at all" * 200, "no tar archive"),
        (b"", "ends too early"),
        (b"BZh91AY" + b"\0" * 600, "compressed with bzip2"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 600, "broken gzip data"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 600, "zstd"),
    ],
)
def test_what_is_no_layer_is_told(reader: LayerReader, data: bytes, reason: str) -> None:
    with pytest.raises(NotReadable, match=reason):
        reader.read(lambda: [data])


def test_memory_is_limited(reader: LayerReader) -> None:
    """A database larger than is read is a problem of that file; the rest of the layer is known."""
    size = 250 * MIB
    data = [header("var/lib/dpkg/status", size), *[b"\0" * MIB] * 250]
    data += [tar_of({"etc/os-release": DEBIAN})]
    record = reader.read(lambda: data)
    assert [(problem.path, problem.packages) for problem in record.problems] == [("var/lib/dpkg/status", True)]
    assert record.systems


def test_a_worker_that_dies_is_told_of_and_replaced(reader: LayerReader) -> None:
    def killing() -> Iterator[bytes]:
        assert reader._process is not None
        os.kill(reader._process.pid, signal.SIGKILL)
        reader._process.wait()
        while True:
            yield bytes(MIB)

    with pytest.raises(NotReadable, match="ended the worker"):
        reader.read(killing)
    good = tar_of({"etc/os-release": DEBIAN})
    assert reader.read(lambda: [good]).systems


def test_a_source_that_fails_half_way_leaves_no_half_record(reader: LayerReader) -> None:
    good = tar_of({"etc/os-release": DEBIAN})

    def broken() -> Iterator[bytes]:
        yield good
        raise NotReadable("not what its digest says")

    with pytest.raises(NotReadable, match="digest"):
        reader.read(broken)
    assert reader.read(lambda: [good]).systems


def test_an_archive_bomb_inside_a_jar_is_a_problem_of_that_jar(reader: LayerReader) -> None:
    bomb = jar({f"{number}.jar": bytes(64 * MIB) for number in range(3)})
    with LayerReader(Limits(nested_bytes=100 * MIB)) as limited:
        record = limited.read(lambda: [tar_of({"app.jar": bomb, "etc/os-release": DEBIAN})])
    assert [problem.path for problem in record.problems] == ["app.jar"]
    assert record.systems


def test_nothing_is_written_outside(reader: LayerReader, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    layer = tar_of(
        {
            f"../../../../../../../..{outside}": b"x",
            str(outside): b"x",
            "link": ("symlink", str(tmp_path)),
            "link/outside": b"x",
            "hard": ("hardlink", "../../../../etc/passwd"),
        }
    )
    record = reader.read(lambda: [layer])
    assert not outside.exists()
    assert {problem.reason.partition(";")[0] for problem in record.problems} == {
        "its path leaves the image's root",
        "a hard link that leaves the image's root",
    }


def test_a_layer_is_read_once_however_many_images_have_it(tmp_path: Path, reader: LayerReader) -> None:
    base = tar_of({"etc/os-release": DEBIAN, "var/lib/dpkg/status": status(("x", "1", ""))})
    cache = LayerCache(tmp_path / "layers.db")
    read: list[str] = []
    for number in range(3):
        own = tar_of({"app": str(number).encode()})
        folder = write_layout(tmp_path / str(number), [base, own])
        (image,) = images_in(folder, "linux/amd64", Limits())

        def told(layer: object, done: int, index: int) -> None:
            if done >= 0:
                read.append(getattr(layer, "digest", ""))

        found = take_inventory(image, reader, cache, told)
        assert [entry.package.name for entry in found.packages] == ["x"]
    assert len(set(read)) == 4
    again = LayerCache(tmp_path / "layers.db")
    assert again.get(read[0]) is not None


def test_a_damaged_blob_is_not_taken_for_the_layer(tmp_path: Path, reader: LayerReader) -> None:
    folder = write_layout(tmp_path, [tar_of({"etc/os-release": DEBIAN})])
    (image,) = images_in(folder, "linux/amd64", Limits())
    blob = folder / "blobs" / "sha256" / image.layers[0].digest.partition(":")[2]
    data = bytearray(blob.read_bytes())
    data[4] ^= 1  # the time in gzip's header: the content stays readable
    blob.write_bytes(data)
    cache = LayerCache(None)
    with pytest.raises(NotReadable, match="is not what its digest"):
        take_inventory(image, reader, cache)
    assert cache.get(image.layers[0].digest) is None


def test_docker_archives_are_read_compressed_too(tmp_path: Path, reader: LayerReader) -> None:
    import gzip

    path = docker_archive(tmp_path / "image.tar", [tar_of({"etc/os-release": DEBIAN})], {"User": "app"})
    packed = tmp_path / "image.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        (image,) = images_in(file, "linux/amd64", Limits())
        found = take_inventory(image, reader, LayerCache(None))
        assert (found.name, found.user, str(found.system)) == (
            "example/app:1",
            "app",
            "Debian GNU/Linux 12 (bookworm)",
        )


def test_archives_that_are_no_images_say_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(tar_of({"hello": b"x"}))
    with pytest.raises(NotReadable, match=r"neither index.json .* nor manifest.json"):
        images_in(file, "linux/amd64", Limits())
    broken = io.BytesIO(tar_of({"manifest.json": b"[{"}))
    file.write_bytes(broken.getvalue())
    with pytest.raises(NotReadable, match="is no JSON"):
        images_in(file, "linux/amd64", Limits())
