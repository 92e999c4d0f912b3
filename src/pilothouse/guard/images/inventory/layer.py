"""Reads one layer from first byte to last, once, and keeps what matters. Runs in the limited worker."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from typing import Final

from pilothouse.guard.images.inventory import (
    apk,
    dpkg,
    java,
    languages,
    os_release,
    paths,
    rpm,
    rust,
    secrets,
    tar,
)
from pilothouse.guard.images.inventory.limits import MIB, Limits
from pilothouse.guard.images.inventory.streams import ByteReader, decompressed
from pilothouse.guard.images.model import LayerRecord, NotReadable, Package, Problem, Trace

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_SYSTEMS: Final = ("etc/os-release", "usr/lib/os-release")
_STATUS: Final = "var/lib/dpkg/status"
_STATUS_D: Final = "var/lib/dpkg/status.d/"
_INFO: Final = "var/lib/dpkg/info/"
_APK: Final = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_RPM: Final = re.compile(
    r"^(?:var/lib/rpm|usr/lib/sysimage/rpm|usr/share/rpm)/(?:rpmdb\.sqlite|Packages|Packages\.db)$"
)
_RPM_LOG: Final = "/rpmdb.sqlite-wal"
_SETUID: Final = 0o6000
_EXECUTABLE: Final = 0o111
_ELF: Final = b"\x7fELF"
_SMALLEST_PROGRAM: Final = 64 * 1024
_BUILD_INFO_BYTES: Final = 2 * MIB
_OVERLAP: Final = 16
_MANY: Final = 5000
_LONGEST: Final = 2000


def read_layer(
    pieces: Iterable[bytes],
    limits: Limits,
    wanted: frozenset[str] = frozenset(),
    progress: Callable[[int], None] = lambda done: None,
) -> LayerRecord:
    """What a layer holds. `wanted` names further files whose content is needed (see `LayerRecord.missing`).

    Raises NotReadable when the layer as a whole cannot be read; parts that cannot are problems in the record.
    """
    reading = _Reading(limits, wanted)
    reader = ByteReader(decompressed(pieces, limits))
    for number, entry in enumerate(tar.entries(reader, limits)):
        reading.take(entry)
        if not number % 256:
            progress(reader.offset)
    return reading.record(reader.offset)


class _Reading:
    """The record as it grows."""

    def __init__(self, limits: Limits, wanted: frozenset[str]) -> None:
        self._limits = limits
        self._wanted = wanted
        self._record = LayerRecord({}, {}, {}, [], [], {}, b"", [], [], 0, 0, [])
        self._files: set[bytes] = set()
        self._contents: dict[str, bytes] = {}
        self._packages = 0

    def record(self, size: int) -> LayerRecord:
        """The finished record."""
        self._record.files = paths.packed(self._files)
        self._record.size = size
        return self._record

    def take(self, entry: tar.Entry) -> None:
        """One member, in order: a later one of the same path replaces the earlier."""
        self._record.entries += 1
        path = paths.clean(entry.path)
        if path is None:
            if paths.leaves_root(entry.path):
                self._problem(entry.path, "its path leaves the image's root; left out")
            return
        folder, _, name = path.rpartition("/")
        if name.startswith(_WHITEOUT):
            self._whiteout(folder, name)
            return
        if entry.kind == "dir":
            return
        self._files.add(paths.digest(path))
        self._forget(path)
        if entry.kind == "symlink":
            if "/" not in path or self._matters(path, 0o777, _SMALLEST_PROGRAM):
                self._record.links[path] = entry.link
        elif entry.kind == "hardlink":
            self._hard_link(path, entry)
        elif entry.kind == "file":
            self._file(path, entry)

    def _whiteout(self, folder: str, name: str) -> None:
        if name == _OPAQUE:
            self._record.opaque.append(folder)
        elif not name.startswith(".wh..wh."):
            hidden = name[len(_WHITEOUT) :]
            if hidden:
                self._record.hidden.append(f"{folder}/{hidden}" if folder else hidden)

    def _forget(self, path: str) -> None:
        record = self._record
        for kept in (record.packages, record.owned, record.systems, record.links):
            kept.pop(path, None)

    def _matters(self, path: str, mode: int, size: int) -> bool:
        return (
            path in _SYSTEMS
            or path == _STATUS
            or path.startswith((_STATUS_D, _INFO))
            or path in _APK
            or _RPM.match(path) is not None
            or path in self._wanted
            or (bool(mode & _EXECUTABLE) and size >= _SMALLEST_PROGRAM)
            or paths.of_language(path)
        )

    def _hard_link(self, path: str, entry: tar.Entry) -> None:
        target = paths.clean(entry.link)
        if target is None:
            if paths.leaves_root(entry.link):
                self._problem(path, "a hard link that leaves the image's root; left out")
            return
        record = self._record
        if target in record.packages:
            self._keep(path, [_moved(package, path) for package in record.packages[target]])
        elif target in record.owned or target in record.systems:
            if target in record.owned:
                record.owned[path] = record.owned[target]
            if target in record.systems:
                record.systems[path] = record.systems[target]
        elif target in self._contents:
            self._content(path, self._contents[target])
        elif self._matters(path, 0, 0) and "." in path.rpartition("/")[2] and target not in self._wanted:
            record.missing.append(target)

    def _file(self, path: str, entry: tar.Entry) -> None:
        if entry.mode & _SETUID and entry.mode & _EXECUTABLE:
            self._trace(Trace("setuid", path, f"{entry.mode & 0o7777:04o}"))
        try:
            self._read(path, entry)
        except NotReadable as error:
            self._problem(path, str(error))
        except MemoryError:
            self._problem(path, "it takes more memory to read than is allowed")
        except Exception as error:  # a parser's mistake: of this file, not of the layer
            self._problem(path, f"reading it failed: {type(error).__name__}: {error}")

    def _read(self, path: str, entry: tar.Entry) -> None:
        limits = self._limits
        if path in _SYSTEMS or path == _STATUS or path.startswith((_STATUS_D, _INFO)) or path in _APK:
            if path.startswith(_INFO) and not path.endswith((".list", ".md5sums")):
                return
            self._content(path, self._bounded(entry, limits.database))
        elif _RPM.match(path):
            self._rpm(path, entry)
        elif path.endswith(_RPM_LOG) and _RPM.match(path.removesuffix("-wal")) and entry.size:
            raise NotReadable("the RPM database was not closed: what its log holds is not read (rpm --rebuilddb)")
        elif paths.JAVA.search(path):
            self._java(path, entry)
        elif paths.GEM.search(path):
            self._keep(path, languages.read_gem(path))
        elif languages.text_reader(path) is not None:
            self._content(path, self._bounded(entry, limits.metadata))
        elif entry.size >= _SMALLEST_PROGRAM and entry.mode & _EXECUTABLE:
            self._program(path, entry)
        elif path in self._wanted:
            self._contents[path] = self._bounded(entry, limits.metadata)
        elif 0 < entry.size <= limits.text and secrets.looked_at(path):
            for trace in secrets.traces_in(entry.read(), path):
                self._trace(trace)

    def _content(self, path: str, data: bytes) -> None:
        """Text of a file that is read by its name."""
        record = self._record
        if path in self._wanted:
            self._contents[path] = data
        text = data.decode("utf-8", "replace")
        if path in _SYSTEMS:
            record.systems[path] = os_release.read_os_release(text)
        elif path in _APK:
            packages, owned = apk.read_installed(text, path)
            self._keep(path, packages)
            record.owned[path] = owned
        elif path.endswith(".md5sums") and path.startswith((_STATUS_D, _INFO)):
            if path.startswith(_STATUS_D):
                record.owned[path] = dpkg.owned_by_sums(text.split("\n"))
        elif path.startswith(_INFO):
            record.owned[path] = dpkg.owned_by_list(text.split("\n"))
        elif path == _STATUS or path.startswith(_STATUS_D):
            self._keep(path, dpkg.read_status(text, path))
        elif read := languages.text_reader(path):
            self._keep(path, read(text, path))

    def _rpm(self, path: str, entry: tar.Entry) -> None:
        data = bytearray(self._bounded(entry, self._limits.database))
        packages, owned = rpm.read_database(data, path)
        self._keep(path, packages)
        self._record.owned[path] = owned

    def _java(self, path: str, entry: tar.Entry) -> None:
        if entry.size > self._limits.archive:
            raise NotReadable(f"an archive of {entry.size} bytes; up to {self._limits.archive} are read")
        with tempfile.SpooledTemporaryFile(16 * MIB) as file:
            for piece in entry.pieces():
                file.write(piece)
            file.seek(0)
            self._keep(path, java.read_archive(file, path, self._limits))

    def _program(self, path: str, entry: tar.Entry) -> None:
        """Looks through a program for what linkers left, in windows that overlap by the longest marker."""
        window = entry.read(4)
        if window != _ELF:
            if path in self._wanted and entry.size <= self._limits.metadata:
                self._contents[path] = window + entry.read()
            return
        if path in self._wanted:
            self._audited(path, window, entry)
            return
        start = 0
        for piece in entry.pieces():
            window += piece
            at = window.find(languages.BUILD_INFO)
            while at >= 0:
                if languages.aligned(start + at):
                    if len(window) - at < _BUILD_INFO_BYTES:
                        window += entry.read(_BUILD_INFO_BYTES - len(window) + at)
                    found = languages.read_build_info(window[at : at + _BUILD_INFO_BYTES], path)
                    if found is not None:
                        self._keep(path, found)
                        return
                at = window.find(languages.BUILD_INFO, at + 1)
            if rust.SECTION in window and (not self._record.missing or self._record.missing[-1] != path):
                self._record.missing.append(path)  # the name comes after what it names: a second pass has both
            start += max(0, len(window) - _OVERLAP)
            window = window[-_OVERLAP:]

    def _audited(self, path: str, start: bytes, entry: tar.Entry) -> None:
        if entry.size > self._limits.database:
            raise NotReadable(f"a Rust program of {entry.size} bytes; up to {self._limits.database} are read")
        self._keep(path, rust.read_program(start + entry.read(), path))

    def _bounded(self, entry: tar.Entry, limit: int) -> bytes:
        if entry.size > limit:
            raise NotReadable(f"{entry.size} bytes long; up to {limit} are read")
        return entry.read()

    def _keep(self, path: str, packages: list[Package]) -> None:
        if any(len(package.name) + len(package.version) + len(package.source) > _LONGEST for package in packages):
            raise NotReadable(f"a package whose name and version are longer than {_LONGEST} characters")
        self._packages += len(packages)
        if self._packages > self._limits.packages:
            raise NotReadable(f"more than {self._limits.packages} packages in a layer; not read further")
        self._record.packages[path] = packages

    def _trace(self, trace: Trace) -> None:
        if len(self._record.traces) < _MANY:
            self._record.traces.append(trace)

    def _problem(self, path: str, reason: str) -> None:
        problems = self._record.problems
        if len(problems) < self._limits.problems:
            problems.append(Problem(path[:256], reason[:500]))
        elif len(problems) == self._limits.problems:
            problems.append(Problem("", "more parts that could not be read"))


def _moved(package: Package, path: str) -> Package:
    return Package(package.type, package.name, package.version, package.source, package.source_version, path=path)
