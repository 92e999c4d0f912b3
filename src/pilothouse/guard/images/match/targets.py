"""What a package is looked up as: ecosystems, name, version and order; or why it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pilothouse.guard.images.data.names import LANGUAGES, package_name
from pilothouse.guard.images.model import Package, System

SYSTEM_TYPES: Final = ("deb", "apk", "rpm")
_CODENAMES: Final[Mapping[str, str]] = {
    "8": "jessie",
    "9": "stretch",
    "10": "buster",
    "11": "bullseye",
    "12": "bookworm",
    "13": "trixie",
    "14": "forky",
    "15": "duke",
}
_SUPPORT_PHASES: Final = ("", "-LTSS", "-ESPOS")
"""What SUSE adds to a product in its later years; the image is the same whoever has a subscription."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look. An ecosystem with a `*` stands for all that begin and end so (see `names.stands_for`)."""

    ecosystems: tuple[str, ...]
    names: tuple[str, ...]
    version: str
    order: str
    release: str = ""
    """The codename by which Debian's tracker knows the release."""
    paid: tuple[str, ...] = ()
    """Ecosystems of the same release whose fixes are for subscribers."""


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
    """A repository a record until RHEL 9; a minor release since RHEL 10."""
    major = system.version.partition(".")[0]
    return f"Red Hat:enterprise_linux:{major}::*", f"Red Hat:enterprise_linux:{major}.*"


def _leap(system: System) -> tuple[str, ...]:
    return f"openSUSE:Leap {system.version}", f"openSUSE:Leap {system.version} NonFree"


def _suse(system: System) -> tuple[str, ...]:
    """By release whatever the product: packages of SLES 15 are filed under the module that ships them."""
    major, dot, minor = system.version.partition(".")
    release = f"{major} SP{minor}" if dot and major in ("12", "15") else system.version
    return tuple(f"SUSE:* {release}{phase}" for phase in _SUPPORT_PHASES)


def _openeuler(system: System) -> tuple[str, ...]:
    """The service pack stands in the name alone: `openEuler 22.03 (LTS-SP4)`."""
    found = re.search(r"\((LTS[\w-]*)\)", system.name)
    return (f"openEuler:{system.version}-{found[1]}" if found else f"openEuler:{system.version}",)


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
    "opensuse-leap": _leap,
    "opensuse-tumbleweed": _plain("openSUSE:Tumbleweed"),
    "sles": _suse,
    "sled": _suse,
    "sles_sap": _suse,
    "sle_hpc": _suse,
    "sle-micro": lambda system: (f"SUSE:Linux Enterprise Micro {system.version}",),
    "azurelinux": _major("Azure Linux"),
    "mariner": _major("Azure Linux"),
    "openeuler": _openeuler,
    "mageia": _major("Mageia"),
    "alpaquita": lambda system: (f"Alpaquita:{system.version}",),
    "minimos": _plain("MinimOS"),
    "echo": _plain("Echo"),
}
_ORDERS: Final[Mapping[str, str]] = {"deb": "dpkg", "apk": "apk", "rpm": "rpm"}
_LANGUAGE_ORDERS: Final[Mapping[str, str]] = {
    "pypi": "pep440",
    "maven": "maven",
    "gem": "gem",
    "composer": "composer",
    "nuget": "nuget",
}
_GO_PRERELEASE: Final = re.compile(r"(\d)(rc|beta)(\d+)$")


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
        paid = (f"Ubuntu:Pro:{system.version}:LTS",) if system.id == "ubuntu" else ()
        return Target(ecosystems, tuple(names), version, _ORDERS[package.type], release, paid)
    ecosystem = LANGUAGES.get(package.type)
    if ecosystem is None:
        return None
    name = package_name(ecosystem, package.name)
    order = _LANGUAGE_ORDERS.get(package.type, "semver")
    version = package.version
    if (package.type, name) == ("golang", "stdlib"):
        version = _GO_PRERELEASE.sub(r"\1-\2.\3", version)  # go1.22rc1 is 1.22.0-rc.1 in records
    return Target((ecosystem,), (name,), version, order)


def language_ecosystem(kind: str) -> str | None:
    """The OSV ecosystem of a package URL's type."""
    return LANGUAGES.get(kind)
