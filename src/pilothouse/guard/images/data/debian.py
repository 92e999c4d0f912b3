"""Debian's security tracker: source package, then CVE, then releases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgspec

from pilothouse.guard.images.data.records import Advisory, Affected, Release, Rule
from pilothouse.guard.images.data.write import Parsed, Writer
from pilothouse.guard.images.model import NOT_JSON

ECOSYSTEM: Final = "Debian"
RELEASES: Final = "debian-releases"
_SUMMARY: Final = 300


class _Release(msgspec.Struct):
    status: str
    fixed_version: str | None = None
    urgency: str = ""
    nodsa: str = ""
    nodsa_reason: str = ""
    repositories: dict[str, str] = {}


class _Flaw(msgspec.Struct):
    releases: dict[str, _Release] | list[Any] = {}
    description: str = ""
    scope: str = ""


_FLAWS: Final = msgspec.json.Decoder(dict[str, _Flaw])


def take_tracker(writer: Writer, members: Iterator[tuple[str, bytes]]) -> None:
    """Takes the tracker in, a source package at a time. Advisories are `CVE source`, for one flaw may be in many."""
    releases: set[str] = set()
    for source, data in members:
        try:
            flaws = _FLAWS.decode(data)
        except NOT_JSON as error:
            writer.broken(f"{source}: {error}")
            continue
        for ident, flaw in flaws.items():
            if not isinstance(flaw.releases, dict):
                flaw.releases = {}  # an empty list where there are none
            releases.update(flaw.releases)
            encoded = msgspec.msgpack.encode(flaw)
            writer.put(
                f"{ident} {source}", blake2b(encoded, digest_size=8).digest(), partial(_parsed, source, ident, flaw)
            )
    writer.meta(RELEASES, " ".join(sorted(releases)))


def _parsed(source: str, ident: str, flaw: _Flaw) -> Parsed:
    found = flaw.releases if isinstance(flaw.releases, dict) else {}
    releases = {
        name: Release(
            release.status,
            release.fixed_version or "",
            release.urgency,
            _reason(release),
            release.repositories.get(f"{name}-security") or release.repositories.get(name, ""),
        )
        for name, release in found.items()
    }
    link = f"https://security-tracker.debian.org/tracker/{ident}"
    advisory = Advisory(ident, summary=" ".join(flaw.description.split())[:_SUMMARY], references=(link,))
    return advisory, [Affected(ECOSYSTEM, source, Rule(releases=releases))]


def _reason(release: _Release) -> str:
    if not release.nodsa and not release.nodsa_reason:
        return ""
    kind = release.nodsa_reason or "no-dsa"
    return f"{kind}: {release.nodsa}"[:200] if release.nodsa else kind
