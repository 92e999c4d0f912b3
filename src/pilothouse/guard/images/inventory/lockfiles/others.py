"""Go, Rust, Java, Ruby, PHP, .NET."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final
from xml.etree import ElementTree

from pilothouse.guard.images.inventory.documents import json_of
from pilothouse.guard.images.model import NotReadable, Package

_MODULE: Final = re.compile(r"^\s*(?:require\s+)?([\w.~/-]+)\s+(v\S+?)\s*(?://.*)?$")
_REPLACE: Final = re.compile(r"^\s*(?:replace\s+)?([\w.~/-]+)(?:\s+v\S+)?\s+=>\s+([\w.~/-]+)\s+(v\S+)")
_GEM: Final = re.compile(r"^    ([A-Za-z0-9_.-]+) \(([^)\s]+)\)$")
_REFERENCE: Final = re.compile(r"\$\{([^}]+)\}")


def go_mod(text: str, path: str) -> list[Package]:
    """Modules of go.mod (since Go 1.17 all that are built in), and the standard library by the toolchain asked for."""
    found: dict[str, Package] = {}
    block = ""
    replaced: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        line = line.partition("//")[0].rstrip() if "=>" in line else line.rstrip()
        words = line.split()
        if len(words) == 2 and words[1] == "(":
            block = words[0]
        elif line.strip() == ")":
            block = ""
        elif words[:1] == ["toolchain"] and len(words) == 2:
            found["stdlib"] = Package("golang", "stdlib", words[1].removeprefix("go"), path=path)
        elif (block == "replace" or words[:1] == ["replace"]) and (match := _REPLACE.match(line)):
            replaced[match[1]] = (match[2], match[3])
        elif (block == "require" or words[:1] == ["require"]) and (match := _MODULE.match(line)):
            found[match[1]] = Package("golang", match[1], match[2], path=path)
    for name, (other, version) in replaced.items():
        if name in found:
            found[name] = Package("golang", other, version, path=path)
    return list(found.values())


def cargo_lock(text: str, path: str) -> list[Package]:
    """Crates of a registry; those without a source are the folder's own. Raises NotReadable."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NotReadable(f"no TOML: {error}") from error
    return [
        Package("cargo", str(entry["name"]), str(entry["version"]), path=path)
        for entry in tree.get("package") or ()
        if isinstance(entry, dict) and entry.get("source") and "name" in entry and "version" in entry
    ]


def gemfile_lock(text: str, path: str) -> list[Package]:
    """Gems under `specs:`, without their platform."""
    found = []
    for line in text.splitlines():
        match = _GEM.match(line)
        if match:
            found.append(Package("gem", match[1], re.split(r"-(?=[a-z])", match[2])[0], path=path))
    return found


def composer_lock(text: str, path: str) -> list[Package]:
    """composer.lock. Raises NotReadable."""
    tree: Any = json_of(text)
    entries = [*(tree.get("packages") or ()), *(tree.get("packages-dev") or ())] if isinstance(tree, dict) else []
    return [
        Package("composer", str(entry["name"]), str(entry["version"]).removeprefix("v"), path=path)
        for entry in entries
        if isinstance(entry, dict) and "name" in entry and "version" in entry
    ]


def nuget_lock(text: str, path: str) -> list[Package]:
    """packages.lock.json: by target framework; projects are the folder's own. Raises NotReadable."""
    tree: Any = json_of(text)
    frameworks = tree.get("dependencies") if isinstance(tree, dict) else None
    found: dict[Package, None] = {}
    for entries in (frameworks if isinstance(frameworks, dict) else {}).values():
        for name, entry in (entries if isinstance(entries, dict) else {}).items():
            version = entry.get("resolved") if isinstance(entry, dict) else None
            if isinstance(version, str) and entry.get("type") != "Project":
                found[Package("nuget", name, version, path=path)] = None
    return list(found)


def pom(text: str, path: str) -> list[Package]:
    """Dependencies of a pom.xml; a version that a parent or BOM decides is "". Raises NotReadable."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise NotReadable("a pom.xml with a document type, which Maven does not have")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError) as error:
        raise NotReadable(f"no XML: {error}") from error
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    values = _properties(root, space)
    managed = {
        name: version
        for name, version, _ in _dependencies(root.find(f"{space}dependencyManagement"), space, values)
        if version
    }
    found = []
    for name, version, scope in _dependencies(root, space, values):
        if scope != "test":
            found.append(Package("maven", name, version or managed.get(name, ""), path=path))
    return found


def _properties(root: ElementTree.Element, space: str) -> dict[str, str]:
    values = {
        element.tag.removeprefix(space): (element.text or "").strip()
        for element in (*(root.find(f"{space}properties") or ()),)
    }
    for name in ("groupId", "artifactId", "version"):
        text = root.findtext(f"{space}{name}") or root.findtext(f"{space}parent/{space}{name}") or ""
        values[f"project.{name}"] = text.strip()
    return values


def _dependencies(parent: ElementTree.Element | None, space: str, values: dict[str, str]) -> list[tuple[str, str, str]]:
    """`group:artifact`, version and scope."""
    found = []
    for element in parent.findall(f"{space}dependencies/{space}dependency") if parent is not None else ():
        texts = [_filled(element.findtext(f"{space}{n}") or "", values) for n in ("groupId", "artifactId", "version")]
        version = "" if "${" in texts[2] or texts[2].startswith(("[", "(")) else texts[2]
        found.append((f"{texts[0]}:{texts[1]}", version, element.findtext(f"{space}scope") or ""))
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    for _ in range(5):
        filled = _REFERENCE.sub(lambda match: values.get(match[1], match[0]), text)
        if filled == text:
            break
        text = filled[:1000]
    return text.strip()
