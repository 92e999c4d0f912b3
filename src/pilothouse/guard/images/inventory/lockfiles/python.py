"""Python: requirements files, poetry.lock, uv.lock, pdm.lock, Pipfile.lock."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from pilothouse.guard.images.inventory.documents import json_of
from pilothouse.guard.images.model import NotReadable, Package

_PINNED: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*={2,3}\s*([^\s;,#\\*]+)\s*(?:[;#\\]|--|$)")
_NAMED: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)")


def requirements(text: str, path: str) -> list[Package]:
    """Pinned requirements; one without an exact version has version ""."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith(("#", "-")) or "://" in line.partition("#")[0].partition(";")[0]:
            continue
        pinned = _PINNED.match(line)
        if pinned:
            found.append(Package("pypi", pinned[1], pinned[2], path=path))
        elif named := _NAMED.match(line):
            found.append(Package("pypi", named[1], "", path=path))
    return found


def toml_lock(text: str, path: str) -> list[Package]:
    """poetry.lock, uv.lock and pdm.lock: `[[package]]` with name and version. Raises NotReadable."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NotReadable(f"no TOML: {error}") from error
    found = []
    for entry in tree.get("package") or ():
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise NotReadable("an entry of [[package]] has no name")
        source = entry.get("source")
        own = isinstance(source, dict) and any(key in source for key in ("editable", "virtual", "directory"))
        if not own and isinstance(entry.get("version"), str):
            found.append(Package("pypi", entry["name"], entry["version"], path=path))
    return found


def pipfile_lock(text: str, path: str) -> list[Package]:
    """Pipfile.lock. Raises NotReadable."""
    tree: Any = json_of(text)
    found = []
    for section in ("default", "develop"):
        entries = tree.get(section) if isinstance(tree, dict) else None
        for name, entry in (entries if isinstance(entries, dict) else {}).items():
            version = entry.get("version", "") if isinstance(entry, dict) else ""
            if isinstance(version, str) and version.startswith("=="):
                found.append(Package("pypi", name, version[2:], path=path))
    return found
