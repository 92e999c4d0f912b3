"""Paths inside an image: in one form, as short digests, and what a file of that name may be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

_MERGED: Final = ("bin/", "sbin/", "lib/", "lib64/")
SIZE: Final = 8


def clean(path: str) -> str | None:
    """Without leading slash and `.`; None when it leaves the root or names it."""
    if path.startswith("./"):
        path = path[2:]
    if "//" not in path and "/." not in path and not path.startswith((".", "/")):
        return path.rstrip("/") or None
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            return None
        parts.append(part)
    return "/".join(parts) or None


def leaves_root(path: str) -> bool:
    """True for a path with `..` in it."""
    return ".." in path.split("/")


def digest(path: str) -> bytes:
    """Eight bytes that stand for a path."""
    return blake2b(path.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


def packed(digests: Iterable[bytes]) -> bytes:
    """Sorted and joined."""
    return b"".join(sorted(set(digests)))


def unpacked(data: bytes) -> set[bytes]:
    """The digests that were joined."""
    return {data[at : at + SIZE] for at in range(0, len(data), SIZE)}


def merged(path: str) -> str:
    """As on a system whose /bin, /sbin and /lib are links into /usr: databases still name the old place."""
    return f"usr/{path}" if path.startswith(_MERGED) else path


def ancestors(path: str) -> list[str]:
    """All folders above, nearest first."""
    found = []
    while "/" in path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


PYTHON: Final = re.compile(r"(?:^|/)[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)$")
NODE: Final = re.compile(r"(?:^|/)node_modules/(?:@[^/]+/)?[^/@]+/package\.json$")
PHP: Final = re.compile(r"(?:^|/)composer/installed\.json$")
DOTNET: Final = re.compile(r"\.deps\.json$")
JAVA: Final = re.compile(r"\.(?:jar|war|ear|jpi|hpi)$")
GEM: Final = re.compile(r"(?:^|/)specifications/(?:default/)?[^/]+\.gemspec$")


def of_language(path: str) -> bool:
    """True when a package of a programming language may be named by a file of this path."""
    name = path.rpartition("/")[2]
    if "." not in name:
        return "/" in path and not path.startswith(("usr/share/", "etc/", "var/lib/dpkg/"))
    return any(form.search(path) for form in (PYTHON, JAVA, NODE, GEM, PHP, DOTNET))
