"""What is fetched when nobody says otherwise, and what it is called in a mirror (`--from URL/`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_OSV: Final = "https://osv-vulnerabilities.storage.googleapis.com"
_ALPINE: Final = "https://secdb.alpinelinux.org"

ECOSYSTEMS: Final = (
    "PyPI",
    "npm",
    "Go",
    "Maven",
    "crates.io",
    "RubyGems",
    "Packagist",
    "NuGet",
    "Ubuntu",
    "Red Hat",
    "Rocky Linux",
    "AlmaLinux",
    "openSUSE",
    "SUSE",
    "Wolfi",
    "Chainguard",
    "Azure Linux",
    "openEuler",
    "Mageia",
    "MinimOS",
    "Echo",
    "Hex",
    "Pub",
)
ALPINE_RELEASES: Final = ("edge", "v3.23", "v3.22", "v3.21", "v3.20", "v3.19", "v3.18", "v3.17", "v3.16")


@dataclass(frozen=True, slots=True)
class Source:
    """A feed's name, where it is published, and its path in a mirror."""

    name: str
    url: str
    path: str


def default_sources() -> Sequence[Source]:
    """All feeds; a file that is not there (an old release) is passed over."""
    found = [
        Source(f"osv/{name}", f"{_OSV}/{name.replace(' ', '%20')}/all.zip", f"osv/{name.replace(' ', '%20')}/all.zip")
        for name in ECOSYSTEMS
    ]
    found.append(Source("debian", "https://security-tracker.debian.org/tracker/data/json", "debian/tracker.json"))
    for release in ALPINE_RELEASES:
        for repository in ("main", "community"):
            path = f"{release}/{repository}.json"
            found.append(Source(f"alpine/{release}/{repository}", f"{_ALPINE}/{path}", f"alpine/{path}"))
    found.append(
        Source(
            "epss", "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz", "epss/epss_scores-current.csv.gz"
        )
    )
    kev = "known_exploited_vulnerabilities.json"
    found.append(Source("kev", f"https://www.cisa.gov/sites/default/files/feeds/{kev}", f"kev/{kev}"))
    return found
