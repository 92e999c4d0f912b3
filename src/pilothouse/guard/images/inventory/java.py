"""Java archives and those inside them: pom.properties where Maven left it, else the manifest, else the file's name."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from pilothouse.guard.images.inventory.limits import MIB, Limits
from pilothouse.guard.images.inventory.paths import JAVA
from pilothouse.guard.images.model import NotReadable, Package

_NAME: Final = re.compile(r"([^/]+?)-(\d[\w.]*(?:-[\w.]+)*)\.[jwe]ar$")
_POM: Final = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties$")
_IN_MEMORY: Final = 16 * MIB
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
    OSError,
)


class _Budget:
    """What is left to read of one outer archive."""

    __slots__ = ("bytes", "entries")

    def __init__(self, limits: Limits) -> None:
        self.bytes = limits.nested_bytes
        self.entries = limits.archive_entries


def read_archive(file: IO[bytes], path: str, limits: Limits) -> list[Package]:
    """The packages of an archive and of those in it; paths as `outer.jar!/inner.jar`. Raises NotReadable."""
    return list(_archive(file, path, limits, _Budget(limits), 0))


def _archive(file: IO[bytes], path: str, limits: Limits, budget: _Budget, depth: int) -> Iterator[Package]:
    if depth > limits.archive_depth:
        raise NotReadable(f"{path}: archives nested more than {limits.archive_depth} deep")
    try:
        with zipfile.ZipFile(file) as archive:
            budget.entries -= len(archive.filelist)
            if budget.entries < 0:
                raise NotReadable(f"{path}: more than {limits.archive_entries} entries in archives")
            yield from _own(archive, path, limits)
            for entry in archive.infolist():
                if JAVA.search(entry.filename) and not entry.is_dir():
                    with _nested(archive, entry, path, budget) as inner:
                        yield from _archive(inner, f"{path}!/{entry.filename}", limits, budget, depth + 1)
    except NotReadable:
        raise
    except _BROKEN as error:
        raise NotReadable(f"{path}: a broken archive: {error}") from error


def _nested(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str, budget: _Budget) -> IO[bytes]:
    inner: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (the caller closes it)
    with archive.open(entry) as source:
        while piece := source.read(MIB):
            budget.bytes -= len(piece)
            if budget.bytes < 0:
                inner.close()
                raise NotReadable(f"{path}: archives inside it are larger than allowed")
            inner.write(piece)
    inner.seek(0)
    return inner


def _own(archive: zipfile.ZipFile, path: str, limits: Limits) -> list[Package]:
    found = []
    for entry in archive.infolist():
        if _POM.search(entry.filename):
            values = _properties(_text(archive, entry, path, limits))
            if values.get("groupId") and values.get("artifactId") and values.get("version"):
                name = f"{values['groupId']}:{values['artifactId']}"
                found.append(Package("maven", name, values["version"], path=path))
    if found:
        return found
    try:
        manifest = _headers(_text(archive, archive.getinfo("META-INF/MANIFEST.MF"), path, limits))
    except KeyError:
        manifest = {}
    return _by_manifest(manifest, path)


def _by_manifest(manifest: dict[str, str], path: str) -> list[Package]:
    match = _NAME.search(path)
    group = manifest.get("Implementation-Vendor-Id", "")
    artifact = match[1] if match else manifest.get("Implementation-Title", "")
    symbolic = manifest.get("Bundle-SymbolicName", "").partition(";")[0].strip()
    version = match[2] if match else manifest.get("Implementation-Version") or manifest.get("Bundle-Version", "")
    if not group and symbolic and artifact:
        group = symbolic.removesuffix(f".{artifact}")
    if not artifact:
        artifact = symbolic
    if not artifact or not version or " " in artifact:
        return []
    return [Package("maven", f"{group}:{artifact}" if group else artifact, version, path=path)]


def _text(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str, limits: Limits) -> str:
    with archive.open(entry) as source:
        data = source.read(limits.metadata + 1)
    if len(data) > limits.metadata:
        raise NotReadable(f"{path}!/{entry.filename}: larger than {limits.metadata} bytes")
    return data.decode("utf-8", "replace")


def _properties(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith(("#", "!")))
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


def _headers(text: str) -> dict[str, str]:
    """The main section of a manifest; a line that begins with a space continues the one before."""
    joined = text.replace("\r\n", "\n").split("\n\n", 1)[0].replace("\n ", "")
    pairs = (line.partition(":") for line in joined.split("\n"))
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}
