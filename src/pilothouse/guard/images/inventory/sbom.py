"""The inventory of an SBOM: CycloneDX or SPDX, as JSON. Packages are what has a package URL.

Sources: CycloneDX 1.6 JSON reference, SPDX 2.3 JSON format, package-url specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import NOT_JSON, Inventory, NotReadable, Package, Placed, Problem, System

_LARGEST: Final = 256 * MIB
_DEEPEST: Final = 50
_MOST_REASONS: Final = 200
NOT_READ: Final = "not-read"
"""What our own SBOMs call the reasons why packages may be missing from them."""


def is_sbom(path: Path) -> bool:
    """True for a JSON file that says it is CycloneDX or SPDX."""
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    return head.lstrip()[:1] == b"{" and (b'"CycloneDX"' in head or b'"spdxVersion"' in head)


def sbom_inventory(path: Path) -> Inventory:
    """Raises NotReadable, OSError."""
    if path.stat().st_size > _LARGEST:
        raise NotReadable(f"{path}: larger than {_LARGEST >> 20} MiB")
    return sbom_in(path.read_bytes(), str(path))


def sbom_in(data: bytes, name: str) -> Inventory:
    """What a document says. Raises NotReadable."""
    try:
        tree = msgspec.json.decode(data)
    except NOT_JSON as error:
        raise NotReadable(f"{name}: no JSON: {error}") from error
    if not isinstance(tree, dict):
        raise NotReadable(f"{name}: no SBOM")
    if tree.get("bomFormat") == "CycloneDX":
        found = _cyclonedx(tree)
    elif isinstance(tree.get("spdxVersion"), str):
        if not str(tree["spdxVersion"]).startswith("SPDX-2."):
            raise NotReadable(f"{name}: {tree['spdxVersion']} is not read; SPDX 2.2 and 2.3 are")
        found = _spdx(tree)
    else:
        raise NotReadable(f"{name}: neither CycloneDX nor SPDX")
    return _inventory(name, found)


@dataclass(slots=True)
class _Found:
    """What an SBOM says."""

    urls: dict[str, None] = field(default_factory=dict)
    system: System | None = None
    without: int = 0
    """Packages that have no package URL."""
    not_read: list[str] = field(default_factory=list)
    """Why, by its maker's word, packages may be missing."""


def _inventory(name: str, found: _Found) -> Inventory:
    packages = []
    problems = [Problem("", reason) for reason in found.not_read[:_MOST_REASONS]]
    system = found.system
    for url in found.urls:
        package, distribution = package_of(url)
        if package is None:
            problems.append(Problem("", f"{url[:100]!r} is no package URL"))
            continue
        system = system or distribution
        packages.append(Placed(package))
    if found.without:
        problems.append(Problem("", f"{found.without} packages without a package URL"))
    if not packages:
        raise NotReadable(f"{name}: no package with a package URL is in it")
    return Inventory(name, "sbom", system=system, packages=tuple(packages), problems=tuple(problems))


def _cyclonedx(tree: dict[str, Any]) -> _Found:
    found = _Found()
    for component in _components(tree.get("components"), 0):
        if component.get("type") == "operating-system":
            found.system = _system(component.get("name"), component.get("version"), component.get("description"))
        elif isinstance(component.get("purl"), str):
            found.urls[component["purl"]] = None
        elif component.get("type") in ("library", "framework"):
            found.without += 1
    metadata = tree.get("metadata")
    for entry in _objects(metadata.get("properties") if isinstance(metadata, dict) else None):
        if entry.get("name") == f"pilothouse:{NOT_READ}":
            found.not_read.append(str(entry.get("value")))
    for entry in _objects(tree.get("compositions")):
        if str(entry.get("aggregate")).startswith("incomplete") and not found.not_read:
            found.not_read.append("the SBOM says of itself that it is incomplete")
    return found


def _objects(entries: object) -> Iterator[dict[str, Any]]:
    return (entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict))


def _components(entries: object, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEEPEST:
        raise NotReadable(f"components nested more than {_DEEPEST} deep")
    for entry in _objects(entries):
        yield entry
        yield from _components(entry.get("components"), depth + 1)


def _spdx(tree: dict[str, Any]) -> _Found:
    found = _Found()
    listed = tree.get("documentDescribes")
    described = [str(entry) for entry in listed] if isinstance(listed, list) else []
    for package in _objects(tree.get("packages")):
        own = [
            str(entry.get("referenceLocator"))
            for entry in _objects(package.get("externalRefs"))
            if entry.get("referenceType") == "purl"
        ]
        purpose = package.get("primaryPackagePurpose")
        if purpose == "OPERATING-SYSTEM":
            found.system = _system(package.get("name"), package.get("versionInfo"), package.get("comment"))
        elif own:
            found.urls[own[0]] = None
        elif package.get("SPDXID") not in described and purpose not in ("CONTAINER", "FILE", "SOURCE", "APPLICATION"):
            found.without += 1
        for entry in _objects(package.get("annotations")):
            kind, colon, reason = str(entry.get("comment")).partition(": ")
            if colon and kind == NOT_READ:
                found.not_read.append(reason)
    return found


def _system(name: object, version: object, title: object) -> System:
    """A system as SBOMs have it: what is no number in place of its version is a codename."""
    ident, number = str(name or "").lower(), str(version or "")
    shown = title if isinstance(title, str) and title else f"{name or ''} {number}".strip()
    if number and not number[0].isdigit():
        return System(ident, codename=number, name=shown)
    return System(ident, number, name=shown)


def package_of(url: str) -> tuple[Package | None, System | None]:
    """The package of a package URL, and the system its `distro` names; None for what is no package URL."""
    from packageurl import PackageURL  # late: 30 ms

    try:
        found = PackageURL.from_string(url)
    except ValueError:
        return None, None
    qualifiers = found.qualifiers if isinstance(found.qualifiers, dict) else {}
    version, name = found.version or "", found.name
    if found.type in ("deb", "apk", "rpm"):
        if found.type == "rpm" and qualifiers.get("epoch") and ":" not in version:
            version = f"{qualifiers['epoch']}:{version}"
        source, _, source_version = _source(qualifiers)
        module = qualifiers.get("rpmmod", "")
        package = Package(found.type, name, version, source, source_version, qualifiers.get("arch", ""), module=module)
        return package, _distribution(found.namespace or "", qualifiers.get("distro", ""))
    separator = ":" if found.type == "maven" else "/"
    if found.namespace:
        name = f"{found.namespace}{separator}{name}"
    return Package(found.type, name, version), None


def _source(qualifiers: dict[str, str]) -> tuple[str, str, str]:
    """Source package: syft writes `upstream=name@version`, others `source` or `origin`."""
    text = qualifiers.get("upstream") or qualifiers.get("source") or qualifiers.get("origin") or ""
    name, at, version = text.partition("@")
    if name.endswith(".src.rpm"):
        name = name.removesuffix(".src.rpm").rsplit("-", 2)[0]
    return name, at, version


def _distribution(namespace: str, distro: str) -> System | None:
    """`debian-12`, `alpine-3.19.1`, `ubuntu-22.04`; codenames too."""
    name, _, version = distro.partition("-")
    if not version:
        name, version = namespace, distro
    if not name:
        return None
    return _system(name, version, "")
