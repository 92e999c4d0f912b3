"""The inventory of a folder: its lockfiles, and what is installed in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pilothouse.guard.images.inventory import languages
from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.inventory.lockfiles import node, others, python
from pilothouse.guard.images.model import Inventory, NotReadable, Package, Placed, Problem

_LARGEST: Final = 64 * MIB
_ENTRIES: Final = 1_000_000
_LEFT_OUT: Final = frozenset({".git", ".hg", ".svn", "__pycache__", ".tox", ".mypy_cache"})

Read = Callable[[str, str], list[Package]]

_LOCKFILES: Final[dict[str, Read]] = {
    "poetry.lock": python.toml_lock,
    "uv.lock": python.toml_lock,
    "pdm.lock": python.toml_lock,
    "Pipfile.lock": python.pipfile_lock,
    "package-lock.json": node.package_lock,
    "npm-shrinkwrap.json": node.package_lock,
    "yarn.lock": node.yarn_lock,
    "pnpm-lock.yaml": node.pnpm_lock,
    "go.mod": others.go_mod,
    "Cargo.lock": others.cargo_lock,
    "pom.xml": others.pom,
    "Gemfile.lock": others.gemfile_lock,
    "composer.lock": others.composer_lock,
    "packages.lock.json": others.nuget_lock,
}
_SUMS: Final = "go.sum"


def lockfile_reader(name: str) -> Read | None:
    """How a file of this name is read, or None when it is no lockfile we know."""
    if name in _LOCKFILES:
        return _LOCKFILES[name]
    if name.startswith("requirements") and name.endswith(".txt"):
        return python.requirements
    return None


def directory_inventory(root: Path) -> Inventory:
    """Everything below a folder. Raises NotReadable when there is nothing in it that we know."""
    packages: list[Placed] = []
    problems: list[Problem] = []
    files = 0
    for path in _files(root):
        shown = path.relative_to(root).as_posix()
        read = _reader(path, shown)
        if read is None:
            continue
        files += 1
        try:
            packages += [Placed(package) for package in read(_text(path), shown)]
        except (NotReadable, OSError) as error:
            problems.append(Problem(shown, str(error)))
    if not files:
        raise NotReadable(
            f"{root}: no lockfile and no installed package is in it; there is {', '.join(sorted(_LOCKFILES))} and "
            "requirements*.txt"
        )
    return Inventory(str(root), "directory", packages=tuple(dict.fromkeys(packages)), problems=tuple(problems))


def _reader(path: Path, shown: str) -> Read | None:
    found = lockfile_reader(path.name)
    if found is not None:
        return found
    if path.name == _SUMS:
        return None if (path.parent / "go.mod").is_file() else _go_sum
    return languages.text_reader(shown)


def _go_sum(text: str, path: str) -> list[Package]:
    """go.sum alone names more than is built in, so it is only read where there is no go.mod."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and not words[1].endswith("/go.mod"):
            found[words[0], words[1]] = Package("golang", words[0], words[1], path=path)
    return list(found.values())


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder in order; links are not followed."""
    count = 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT)
        count += len(files)
        if count > _ENTRIES:
            raise NotReadable(f"{root}: more than {_ENTRIES} files in it")
        for name in sorted(files):
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file():
                yield path


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > _LARGEST:
        raise NotReadable(f"{size} bytes long; up to {_LARGEST} are read")
    return path.read_text("utf-8", "replace")
