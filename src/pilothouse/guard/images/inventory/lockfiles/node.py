"""Node: package-lock.json and npm-shrinkwrap.json, yarn.lock (classic and Berry), pnpm-lock.yaml."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from pilothouse.guard.images.inventory.documents import json_of
from pilothouse.guard.images.model import NotReadable, Package

_YARN_HEAD: Final = re.compile(r'^"?((?:@[^/@"]+/)?[^@"]+)@')
_YARN_VERSION: Final = re.compile(r'^\s+"?version"?:?\s+"?([^"\s]+)"?\s*$')
_YARN_LOCAL: Final = re.compile(r"@(?:workspace|link|portal|file):")
_PNPM: Final = re.compile(r"^/?((?:@[^/@]+/)?[^/@]+)[@/]([^@/(_]+)")


def package_lock(text: str, path: str) -> list[Package]:
    """All three lockfile versions. Raises NotReadable."""
    tree: Any = json_of(text)
    if not isinstance(tree, dict):
        raise NotReadable("no JSON object")
    if isinstance(tree.get("packages"), dict):
        return _by_path(tree["packages"], path)
    found: list[Package] = []
    pending = [tree.get("dependencies")]
    while pending:
        entries = pending.pop()
        for name, entry in (entries if isinstance(entries, dict) else {}).items():
            if isinstance(entry, dict) and isinstance(entry.get("version"), str):
                found.append(Package("npm", name, entry["version"], path=path))
                pending.append(entry.get("dependencies"))
    return found


def _by_path(packages: dict[str, Any], path: str) -> list[Package]:
    found = []
    for place, entry in packages.items():
        _, marker, name = place.rpartition("node_modules/")
        if marker and isinstance(entry, dict) and not entry.get("link") and isinstance(entry.get("version"), str):
            real = entry.get("name")
            found.append(Package("npm", real if isinstance(real, str) else name, entry["version"], path=path))
    return found


def yarn_lock(text: str, path: str) -> list[Package]:
    """Entries are a line that names what was asked for, then indented fields."""
    found = []
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            match = _YARN_HEAD.match(line)
            aliased = re.search(r"@npm:((?:@[^/@]+/)?[^@\"]+)@", line)
            skip = match is None or line.startswith("__metadata") or _YARN_LOCAL.search(line)
            name = "" if skip or match is None else (aliased[1] if aliased else match[1])
        elif name and (version := _YARN_VERSION.match(line)):
            found.append(Package("npm", name, version[1], path=path))
            name = ""
    return found


def pnpm_lock(text: str, path: str) -> list[Package]:
    """Keys of `packages`, in all lockfile versions. Raises NotReadable."""
    try:
        tree = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise NotReadable(f"no YAML: {error}") from error
    packages = tree.get("packages") if isinstance(tree, dict) else None
    found = []
    for key in packages if isinstance(packages, dict) else {}:
        match = _PNPM.match(str(key))
        if match:
            found.append(Package("npm", match[1], match[2], path=path))
    return found
