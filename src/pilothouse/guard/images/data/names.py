"""One name for one package in each ecosystem, and patterns of ecosystems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LANGUAGES: Final[Mapping[str, str]] = {
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
"""OSV's ecosystem by the type of a package URL."""
_PEP503 = re.compile(r"[-_.]+")


def package_name(ecosystem: str, name: str) -> str:
    """As the ecosystem compares names: PyPI by PEP 503, NuGet and Packagist without regard to case."""
    base = ecosystem.partition(":")[0]
    if base == "PyPI":
        return _PEP503.sub("-", name).lower()
    if base in ("NuGet", "Packagist"):
        return name.lower()
    return name


def stands_for(pattern: str, ecosystem: str) -> bool:
    """True when an ecosystem begins as a pattern does before its `*`, and ends as it does after."""
    start, star, end = pattern.partition("*")
    if not star:
        return ecosystem == pattern
    return len(ecosystem) >= len(start) + len(end) and ecosystem.startswith(start) and ecosystem.endswith(end)
