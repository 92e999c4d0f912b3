"""What is known of a layer, an image, a package: plain data, which travels between processes and is kept.

Trees without circles, of which an engine keeps a hundred thousand: the garbage collector need not walk them
(`gc=False`).
"""

from __future__ import annotations

from typing import Final

import msgspec

RECORD_FORMAT: Final = 3
"""Part of what layer records are kept under: raised whenever reading a layer finds something else than before."""
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON of the shape wanted: text that is no UTF-8 is none of msgspec's."""


class NotReadable(Exception):
    """An image, archive or file cannot be read; the message says what, where and what to do."""


class Package(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One installed package; `type` is that of its package URL (deb, apk, rpm, pypi, npm, maven, golang, …)."""

    type: str
    name: str
    version: str
    source: str = ""
    """The source or origin package it was built from; "" when it has none or the same."""
    source_version: str = ""
    arch: str = ""
    path: str = ""
    """File that says so, from the image's root without a leading slash."""
    module: str = ""
    """The module stream of an RPM."""


class Trace(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Something in a layer that should not be there: `kind` is secret, private-key or setuid."""

    kind: str
    path: str
    detail: str = ""


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A part that could not be read, and why: what is in it is not known."""

    path: str
    reason: str
    packages: bool = True
    """Packages may be missing for it: the image does not count as scanned in full."""


class LayerRecord(msgspec.Struct, omit_defaults=True):
    """All that is kept of a layer. Paths have no leading slash."""

    packages: dict[str, list[Package]] = {}
    """By the file that names them: a package database, or a package's own metadata."""
    owned: dict[str, bytes] = {}
    """By package database or file list: digests (8 bytes each) of paths that OS packages own."""
    systems: dict[str, dict[str, str]] = {}
    """os-release files."""
    hidden: list[str] = []
    opaque: list[str] = []
    links: dict[str, str] = {}
    """Symbolic links that matter: those at the root, and those in place of a file we read."""
    files: bytes = b""
    """Sorted digests (8 bytes each) of the paths of everything but directories."""
    traces: list[Trace] = []
    problems: list[Problem] = []
    size: int = 0
    entries: int = 0
    missing: list[str] = []
    """Targets of hard links in place of files we read, which come earlier in the layer, and programs to be read whole:
    to be read again with these."""


class Layer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A layer of an image: `digest` is of the compressed blob, `diff_id` of its content."""

    digest: str
    diff_id: str = ""
    media_type: str = ""
    size: int = 0
    created_by: str = ""
    created: str = ""
    """When, as RFC 3339 has it; "" when the image does not say."""


class BaseImage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an image was built on: name and digest by its maker's word; `layers` counts those below, 0 if unknown."""

    name: str = ""
    digest: str = ""
    layers: int = 0


class System(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An operating system by its os-release file."""

    id: str = ""
    version: str = ""
    codename: str = ""
    name: str = ""
    like: str = ""

    def __str__(self) -> str:
        return self.name or f"{self.id} {self.version}".strip() or "no operating system"


class Placed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A package of an image and the number of the layer that brought it, from 0; -1 where there are no layers."""

    package: Package
    layer: int = -1


class Inventory(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is in an image, a directory or an SBOM."""

    name: str
    kind: str
    """image, directory or sbom."""
    digest: str = ""
    system: System | None = None
    layers: tuple[Layer, ...] = ()
    packages: tuple[Placed, ...] = ()
    traces: tuple[tuple[Trace, int], ...] = ()
    problems: tuple[Problem, ...] = ()
    owned_elsewhere: int = 0
    """Language packages left out because an OS package owns their files."""
    user: str = ""
    env: tuple[str, ...] = ()
    created: str = ""
    index: str = ""
    """Digest of the index the image was chosen from, "" when it was not."""
    signed_by: str = ""
    """Name of the key that signed it, "" when that was not asked."""
    notes: tuple[str, ...] = ()
    """What else is to be told of it, in words."""
    base: BaseImage | None = None
