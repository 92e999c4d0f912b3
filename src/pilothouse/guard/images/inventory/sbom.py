"""The inventory of an SBOM: CycloneDX or SPDX, as JSON. Packages are what has a package URL.

Sources: CycloneDX 1.6 JSON reference, SPDX 2.3 JSON format, package-url specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import Inventory, NotReadable, Package, Placed, Problem, System

_LARGEST: Final = 256 * MIB
_DEEPEST: Final = 50


def is_sbom(path: Path) -> bool:
    """True for a JSON file that says it is CycloneDX or SPDX."""
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    return head.lstrip()[:1] == b"{" and (b'"CycloneDX"' in head or b'"spdxVersion"' in head)


def sbom_inventory(path: Path) -> Inventory:
    """Raises NotReadable, OSError."""
    if path.stat().st_size > _LARGEST:
        raise NotReadable(f"{path}: larger than {_LARGEST >> 20} MiB")
    try:
        tree = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotReadable(f"{path}: no JSON: {error}") from error
    if not isinstance(tree, dict):
        raise NotReadable(f"{path}: no SBOM")
    if tree.get("bomFormat") == "CycloneDX":
        urls, system, without = _cyclonedx(tree)
    elif isinstance(tree.get("spdxVersion"), str):
        if not str(tree["spdxVersion"]).startswith("SPDX-2."):
            raise NotReadable(f"{path}: {tree['spdxVersion']} is not read; SPDX 2.2 and 2.3 are")
        urls, system, without = _spdx(tree)
    else:
        raise NotReadable(f"{path}: neither CycloneDX nor SPDX")
    packages = []
    problems = []
    for url in dict.fromkeys(urls):
        package, distribution = package_of(url)
        if package is None:
            problems.append(Problem("", f"{url[:100]!r} is no package URL"))
            continue
        system = system or distribution
        packages.append(Placed(package))
    if without:
        problems.append(Problem("", f"{without} packages without a package URL"))
    if not packages:
        raise NotReadable(f"{path}: no package with a package URL is in it")
    return Inventory(str(path), "sbom", system=system, packages=tuple(packages), problems=tuple(problems))


def _cyclonedx(tree: dict[str, Any]) -> tuple[list[str], System | None, int]:
    urls: list[str] = []
    system: System | None = None
    without = 0
    for component in _components(tree.get("components"), 0):
        if component.get("type") == "operating-system":
            name, version = str(component.get("name") or ""), str(component.get("version") or "")
            system = System(name.lower(), version, name=f"{name} {version}")
        elif isinstance(component.get("purl"), str):
            urls.append(component["purl"])
        elif component.get("type") in ("library", "framework"):
            without += 1
    return urls, system, without


def _components(entries: object, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEEPEST:
        raise NotReadable(f"components nested more than {_DEEPEST} deep")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield entry
            yield from _components(entry.get("components"), depth + 1)


def _spdx(tree: dict[str, Any]) -> tuple[list[str], System | None, int]:
    urls: list[str] = []
    system: System | None = None
    without = 0
    described = set(tree.get("documentDescribes") or ())
    for package in tree.get("packages") or ():
        if not isinstance(package, dict):
            continue
        own = [
            str(entry.get("referenceLocator"))
            for entry in package.get("externalRefs") or ()
            if isinstance(entry, dict) and entry.get("referenceType") == "purl"
        ]
        purpose = package.get("primaryPackagePurpose")
        if purpose == "OPERATING-SYSTEM":
            name, version = str(package.get("name") or ""), str(package.get("versionInfo") or "")
            system = System(name.lower(), version, name=f"{name} {version}")
        elif own:
            urls.append(own[0])
        elif package.get("SPDXID") not in described and purpose not in ("CONTAINER", "FILE", "SOURCE", "APPLICATION"):
            without += 1
    return urls, system, without


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
        package = Package(found.type, name, version, source, source_version, qualifiers.get("arch", ""))
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
    if version and not version[0].isdigit():
        return System(name, codename=version, name=f"{name} {version}")
    return System(name, version, name=f"{name} {version}".strip())
