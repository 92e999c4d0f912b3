"""What a package is looked up as: ecosystems, name, version and order; or why it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pilothouse.guard.images.data.names import package_name
from pilothouse.guard.images.model import Package, System

_LANGUAGES: Final[Mapping[str, str]] = {
    "pypi": "PyPI",
    "npm": "npm",
    "golang": "Go",
    "maven": "Maven",
    "gem": "RubyGems",
    "cargo": "crates.io",
    "composer": "Packagist",
    "nuget": "NuGet",
    "hex": "Hex",
    "pub": "Pub",
}
SYSTEM_TYPES: Final = ("deb", "apk", "rpm")
_CODENAMES: Final[Mapping[str, str]] = {
    "8": "jessie",
    "9": "stretch",
    "10": "buster",
    "11": "bullseye",
    "12": "bookworm",
    "13": "trixie",
    "14": "forky",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look. An ecosystem that ends with `*` stands for all that begin so."""

    ecosystems: tuple[str, ...]
    names: tuple[str, ...]
    version: str
    order: str
    release: str = ""
    """The codename by which Debian's tracker knows the release."""


def codename(system: System) -> str:
    """Debian's codename, from os-release or its number; sid for what has neither."""
    return system.codename.partition("/")[0] or _CODENAMES.get(system.version.partition(".")[0], "") or "sid"


def _debian(system: System) -> tuple[str, ...]:
    major = system.version.partition(".")[0]
    return ("Debian", f"Debian:{major}") if major else ("Debian",)


def _ubuntu(system: System) -> tuple[str, ...]:
    return f"Ubuntu:{system.version}:LTS", f"Ubuntu:{system.version}"


def _alpine(system: System) -> tuple[str, ...]:
    parts = system.version.split(".")
    if len(parts) < 2 or "_" in system.version:
        return ("Alpine:edge",)
    return (f"Alpine:v{parts[0]}.{parts[1]}",)


def _plain(name: str) -> Callable[[System], tuple[str, ...]]:
    return lambda system: (name,)


def _major(name: str) -> Callable[[System], tuple[str, ...]]:
    return lambda system: (f"{name}:{system.version.partition('.')[0]}",)


def _red_hat(system: System) -> tuple[str, ...]:
    return (f"Red Hat:enterprise_linux:{system.version.partition('.')[0]}::*",)


_SYSTEMS: Final[Mapping[str, Callable[[System], tuple[str, ...]]]] = {
    "debian": _debian,
    "ubuntu": _ubuntu,
    "alpine": _alpine,
    "wolfi": _plain("Wolfi"),
    "chainguard": _plain("Chainguard"),
    "rhel": _red_hat,
    "centos": _red_hat,
    "rocky": _major("Rocky Linux"),
    "almalinux": _major("AlmaLinux"),
    "opensuse-leap": lambda system: (f"openSUSE:Leap {system.version}",),
    "opensuse-tumbleweed": _plain("openSUSE:Tumbleweed"),
    "sles": lambda system: (f"SUSE:Linux Enterprise Server {system.version.replace('.', ' SP')}",),
}
_ORDERS: Final[Mapping[str, str]] = {"deb": "dpkg", "apk": "apk", "rpm": "rpm"}
_LANGUAGE_ORDERS: Final[Mapping[str, str]] = {"pypi": "pep440", "maven": "maven", "gem": "gem"}


def ecosystems_of(system: System) -> tuple[str, ...] | None:
    """The ecosystems that have data for a system's packages, or None when we know none."""
    found = _SYSTEMS.get(system.id)
    return found(system) if found is not None else None


def target_of(package: Package, system: System | None) -> Target | None:
    """Where to look a package up, or None when there is no such place."""
    if package.type in SYSTEM_TYPES:
        ecosystems = ecosystems_of(system) if system is not None else None
        if ecosystems is None or system is None:
            return None
        release = codename(system) if system.id == "debian" else ""
        version = package.version
        names = {package.source or package.name: None}
        if package.type == "deb":
            version = package.source_version or re.sub(r"\+b\d+$", "", version)
        elif package.type == "rpm":
            names = {package.name: None, (package.source or package.name): None}
        return Target(ecosystems, tuple(names), version, _ORDERS[package.type], release)
    ecosystem = _LANGUAGES.get(package.type)
    if ecosystem is None:
        return None
    name = package_name(ecosystem, package.name)
    order = _LANGUAGE_ORDERS.get(package.type, "semver")
    return Target((ecosystem,), (name,), package.version, order)


def language_ecosystem(kind: str) -> str | None:
    """The OSV ecosystem of a package URL's type."""
    return _LANGUAGES.get(kind)
