"""Packages of programming languages by the metadata that their installers leave: Python, Node, PHP, .NET, Ruby, Go."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pilothouse.guard.images.inventory import paths
from pilothouse.guard.images.inventory.documents import json_of
from pilothouse.guard.images.model import Package

_EGG: Final = re.compile(r"/?([^/]+?)-([^/-]+)(?:-py[\d.]+)?\.egg-info$")
_GEM: Final = re.compile(r"/([^/]+?)-(\d[^/-]*)(?:-[^/]+)?\.gemspec$")
BUILD_INFO: Final = b"\xff Go buildinf:"
_ALIGN: Final = 16
_INLINE: Final = 0x2
_MODULE_FRAME: Final = 16
"""Bytes before and after the module information, by which the Go linker marks it."""


def read_python(text: str, path: str) -> list[Package]:
    """METADATA or PKG-INFO: headers as in an e-mail. Source: PyPA, "Core metadata specifications"."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and key.lower() in ("name", "version"):
            fields.setdefault(key.lower(), value.strip())
    if "name" in fields and "version" in fields:
        return [Package("pypi", fields["name"], fields["version"], path=path)]
    match = _EGG.search(path)
    return [Package("pypi", match[1], match[2], path=path)] if match else []


def read_node(text: str, path: str) -> list[Package]:
    """package.json of an installed package. Raises NotReadable."""
    tree = json_of(text)
    if not isinstance(tree, dict):
        return []
    name, version = tree.get("name"), tree.get("version")
    if not (isinstance(name, str) and isinstance(version, str) and name and version):
        return []
    return [Package("npm", name, version, path=path)]


def read_php(text: str, path: str) -> list[Package]:
    """Composer's list of what it installed, in the forms of Composer 1 and 2. Raises NotReadable."""
    tree = json_of(text)
    entries = tree.get("packages") if isinstance(tree, dict) else tree
    found = []
    for entry in entries if isinstance(entries, list) else ():
        name, version = (entry.get("name"), entry.get("version")) if isinstance(entry, dict) else (None, None)
        if isinstance(name, str) and isinstance(version, str):
            found.append(Package("composer", name, version.removeprefix("v"), path=path))
    return found


def read_dotnet(text: str, path: str) -> list[Package]:
    """`APPLICATION.deps.json`: packages, and the runtime where it is deployed with the application. Raises NotReadable.

    Source: .NET's documentation of runtime configuration files.
    """
    tree = json_of(text)
    libraries = tree.get("libraries") if isinstance(tree, dict) else None
    found = []
    for key, entry in (libraries if isinstance(libraries, dict) else {}).items():
        name, slash, version = key.rpartition("/")
        kind = entry.get("type") if isinstance(entry, dict) else None
        if slash and version and kind in ("package", "runtimepack"):
            found.append(Package("nuget", name.removeprefix("runtimepack."), version, path=path))
    return found


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[str, str], list[Package]]], ...]] = (
    (paths.PYTHON, read_python),
    (paths.NODE, read_node),
    (paths.PHP, read_php),
    (paths.DOTNET, read_dotnet),
)


def text_reader(path: str) -> Callable[[str, str], list[Package]] | None:
    """What reads a file of this path, given its text and path; None when it is no package's metadata."""
    return next((read for form, read in _FORMS if form.search(path)), None)


def read_gem(path: str) -> list[Package]:
    """An installed gem, by the name of its specification."""
    match = _GEM.search("/" + path)
    return [Package("gem", match[1], match[2], path=path)] if match else []


def read_build_info(data: bytes, path: str) -> list[Package] | None:
    """A Go program's modules from what its linker left (Go 1.18 and later); `data` begins with the marker.

    None when this is not build information after all. Source: Go's documentation of debug/buildinfo.
    """
    if len(data) < 32 or not data.startswith(BUILD_INFO) or not data[15] & _INLINE:
        return None
    version, at = _string(data, 32)
    modules, _ = _string(data, at)
    if not version.startswith(b"go1.") and not version.startswith(b"devel"):
        return None
    found = []
    match = re.match(rb"go(\d+\.\d+(?:\.\d+)?(?:rc\d+|beta\d+)?)", version)
    if match:
        found.append(Package("golang", "stdlib", match[1].decode(), path=path))
    if len(modules) >= 2 * _MODULE_FRAME + 1 and modules[-_MODULE_FRAME - 1] == 0x0A:
        modules = modules[_MODULE_FRAME:-_MODULE_FRAME]
    return found + _modules(modules.decode("utf-8", "replace"), path)


def _modules(text: str, path: str) -> list[Package]:
    found: list[Package] = []
    for line in text.split("\n"):
        parts = line.split("\t")
        if parts[0] in ("mod", "dep") and len(parts) >= 3:
            found.append(Package("golang", parts[1], parts[2], path=path))
        elif parts[0] == "=>" and len(parts) >= 3 and found:
            found[-1] = Package("golang", parts[1], parts[2], path=path)
    return [package for package in found if package.version and package.version != "(devel)"]


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string after its length as a varint."""
    size = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return data[at : at + size], at + size
        shift += 7
    return b"", at


def aligned(offset: int) -> bool:
    """The marker stands at a multiple of 16 in the file."""
    return offset % _ALIGN == 0
