"""OCI layouts (folder or tar) and archives of `docker save`, read in place.

Sources: OCI image specification, "Image Layout"; Docker image specification v1.2 for manifest.json.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from pilothouse.guard.images.inventory import tar
from pilothouse.guard.images.inventory.limits import MIB, Limits
from pilothouse.guard.images.inventory.paths import clean
from pilothouse.guard.images.inventory.streams import ByteReader, decompressed
from pilothouse.guard.images.model import Layer, NotReadable
from pilothouse.guard.images.source.image import (
    INDEXES,
    Image,
    checked_digest,
    choose,
    config_of,
    image_of,
    json_document,
    layers_of,
    small,
    verified,
)

_PIECE: Final = MIB
_MEMBERS: Final = 100_000
_LINKS: Final = 8


class Files(Protocol):
    """Files by name; `read` raises KeyError for one that is not there."""

    def has(self, name: str) -> bool: ...
    def read(self, name: str) -> Iterator[bytes]: ...


class Folder:
    """A folder; links out of it are refused."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def has(self, name: str) -> bool:
        """True for a file that is there."""
        return (self._root / name).is_file()

    def read(self, name: str) -> Iterator[bytes]:
        """Its bytes. Raises KeyError, NotReadable."""
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root):
            raise NotReadable(f"{name} is a link out of {self._root}")
        if not path.is_file():
            raise KeyError(name)
        return _pieces(path)


class TarFile:
    """The members of a tar file, which may be compressed; members of a compressed one are found by reading it again."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        with path.open("rb") as file:
            head = file.read(4)
        self._plain = not head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))
        self._index()

    def _index(self) -> None:
        if self._plain:
            # Passing over content by seeking: an index of a 10 GB archive reads a few kilobytes of it.
            with self._path.open("rb") as file:
                seeking = _SeekingReader(file.fileno(), os.fstat(file.fileno()).st_size)
                self._take(tar.entries(seeking, self._limits), seeking)
        else:
            reader = ByteReader(decompressed(_pieces(self._path), self._limits))
            self._take(tar.entries(reader, self._limits), reader)

    def _take(self, entries: Iterator[tar.Entry], reader: ByteReader) -> None:
        for entry in entries:
            path = clean(entry.path)
            if path is None:
                continue
            if len(self._members) + len(self._links) > _MEMBERS:
                raise NotReadable(f"{self._path}: more than {_MEMBERS} members; this is no archive of images")
            if entry.kind == "file":
                self._members[path] = (reader.offset, entry.size)
            elif entry.kind in ("symlink", "hardlink"):
                folder = posixpath.dirname(path) if entry.kind == "symlink" else ""
                self._links[path] = posixpath.normpath(posixpath.join(folder, entry.link))

    def _real(self, name: str) -> str:
        for _ in range(_LINKS):
            if name not in self._links:
                break
            name = self._links[name]
        return name

    def has(self, name: str) -> bool:
        """True for a member, or a link to one."""
        return self._real(name) in self._members

    def read(self, name: str) -> Iterator[bytes]:
        """Its bytes. Raises KeyError."""
        offset, size = self._members[self._real(name)]
        return self._at(offset, size)

    def _at(self, offset: int, size: int) -> Iterator[bytes]:
        if self._plain:
            with self._path.open("rb") as file:
                file.seek(offset)
                while size > 0:
                    piece = file.read(min(size, _PIECE))
                    if not piece:
                        raise NotReadable(f"{self._path}: the archive ends too early")
                    size -= len(piece)
                    yield piece
            return
        reader = ByteReader(decompressed(_pieces(self._path), self._limits))
        reader.skip(offset)
        for view in reader.pieces(size):
            yield bytes(view)


class _SeekingReader(ByteReader):
    """Reads a file through its descriptor, and passes over content without reading it."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__(())
        self._descriptor = descriptor
        self._size = size

    def pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            piece = os.pread(self._descriptor, min(size, _PIECE), self.offset)
            if not piece:
                raise NotReadable("the archive ends too early")
            self.offset += len(piece)
            size -= len(piece)
            yield memoryview(piece)

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        if self.offset + size > self._size:
            raise NotReadable("the archive ends too early")
        self.offset += size

    def rest(self) -> None:
        self.offset = self._size


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


@dataclass(frozen=True, slots=True)
class _Layout:
    """Blobs of an OCI layout."""

    files: Files

    def open(self, digest: str, size: int) -> Iterator[bytes]:
        """A blob's bytes. Raises NotReadable."""
        name, _, value = digest.partition(":")
        try:
            return self.files.read(f"blobs/{name}/{value}")
        except KeyError:
            raise NotReadable(f"the blob {digest} is missing") from None


def images_in(path: Path, platform: str, limits: Limits) -> list[Image]:
    """The images of an OCI layout or docker archive. Raises NotReadable, OSError."""
    files: Files = Folder(path) if path.is_dir() else TarFile(path, limits)
    if files.has("index.json") and files.has("oci-layout"):
        return _of_layout(files, str(path), platform)
    if files.has("manifest.json"):
        return _of_docker(files, str(path))
    raise NotReadable(
        f"{path} is no archive of images: it has neither index.json (OCI layout) nor manifest.json (docker save)"
    )


def is_layout(path: Path) -> bool:
    """True for a folder that is an OCI layout."""
    return (path / "oci-layout").is_file() and (path / "index.json").is_file()


def _of_layout(files: Files, where: str, platform: str) -> list[Image]:
    index = json_document(small(files.read("index.json"), f"{where}: index.json"), f"{where}: index.json")
    entries = [entry for entry in index.get("manifests") or [] if isinstance(entry, dict)]
    names = {str(entry.get("digest")): _named(entry, where, len(entries)) for entry in entries}
    layout = _Layout(files)
    if len(entries) > 1 and all(isinstance(entry.get("platform"), dict) for entry in entries):
        entries = [choose(where, index, platform)]
    if not entries:
        raise NotReadable(f"{where}: its index names no image")
    return [_resolved(entry, names[str(entry.get("digest"))], layout, platform) for entry in entries]


def _named(entry: dict[str, Any], where: str, count: int) -> str:
    annotations = entry.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    name = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name")
    if not name:
        return where
    return str(name) if "/" in str(name) or ":" in str(name) else f"{where}:{name}"


def _resolved(entry: dict[str, Any], name: str, layout: _Layout, platform: str, depth: int = 0) -> Image:
    digest = checked_digest(entry.get("digest"), name)
    pieces = verified(layout.open(digest, 0), digest, f"{name}: its manifest")
    document = json_document(small(pieces, f"{name}: its manifest"), f"{name}: its manifest")
    if document.get("mediaType", entry.get("mediaType")) in INDEXES or "manifests" in document:
        if depth > 2:
            raise NotReadable(f"{name}: indexes nested too deeply")
        return _resolved(choose(name, document, platform), name, layout, platform, depth + 1)
    return image_of(name, digest, document, layout.open)


def _of_docker(files: Files, where: str) -> list[Image]:
    what = f"{where}: manifest.json"
    wrapped = json_document(b'{"images":' + small(files.read("manifest.json"), what) + b"}", what)
    entries = wrapped["images"]
    if not isinstance(entries, list) or not entries:
        raise NotReadable(f"{what} names no image")
    return [_docker_image(files, entry, where) for entry in entries if isinstance(entry, dict)]


def _docker_image(files: Files, entry: dict[str, Any], where: str) -> Image:
    tags = entry.get("RepoTags")
    name = str(tags[0]) if isinstance(tags, list) and tags else where
    names = entry.get("Layers")
    try:
        config = json_document(small(files.read(str(entry.get("Config"))), f"{name}: config"), f"{name}: its config")
    except KeyError:
        raise NotReadable(f"{name}: its config {entry.get('Config')} is missing from the archive") from None
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(names, list) or not isinstance(diff_ids, list) or len(names) != len(diff_ids):
        raise NotReadable(f"{name}: manifest.json and its config do not name the same layers")
    layers = layers_of(name, [{"digest": diff_id} for diff_id in diff_ids], config)
    members = dict(zip((layer.digest for layer in layers), (str(entry) for entry in names)))

    def blob(layer: Layer) -> Iterator[bytes]:
        try:
            pieces = files.read(members[layer.digest])
        except KeyError:
            raise NotReadable(f"{name}: layer {members[layer.digest]} is missing from the archive") from None
        # `docker save` keeps layers plain and the digest is that of the content; some tools compress them.
        return verified(decompressed(pieces, Limits()), layer.digest, f"{name}: layer {layer.digest[:19]}")

    return Image(name, "", config_of(config), layers, blob)
