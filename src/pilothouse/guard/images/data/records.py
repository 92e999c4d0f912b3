"""How advisories are kept: one body each, and one rule for each package it affects."""

from __future__ import annotations

import zlib
from typing import Final, TypeVar

import msgspec

INTRODUCED, FIXED, LAST_AFFECTED, LIMIT = "i", "f", "l", "m"

NO_FIX_PLANNED: Final = "no fix planned"
"""How a reason begins that is the publisher's last word."""

T = TypeVar("T")


class Event(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A point of a range: what happens at this version."""

    kind: str
    version: str


class Release(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What Debian's tracker says of a package in one release."""

    status: str
    fixed: str = ""
    urgency: str = ""
    reason: str = ""
    """Why there is no update: no-dsa, postponed or ignored, with the team's words."""
    archive: str = ""
    """The newest version that the release's archives offer."""


class Rule(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """Which versions of a package are affected."""

    ranges: tuple[tuple[Event, ...], ...] = ()
    versions: tuple[str, ...] = ()
    releases: dict[str, Release] = {}
    severity: tuple[tuple[str, str], ...] = ()
    """For this package alone: pairs of type (CVSS_V3, Ubuntu, urgency …) and score."""
    reason: str = ""
    """Why there is no fix, in the publisher's words."""


class Advisory(msgspec.Struct, frozen=True, gc=False, array_like=True, omit_defaults=True):
    """What is told of a flaw, whatever the package."""

    id: str
    aliases: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    """Flaws of other software that this record is the distribution's answer to; not aliases."""
    summary: str = ""
    severity: tuple[tuple[str, str], ...] = ()
    published: str = ""
    modified: str = ""
    withdrawn: str = ""
    references: tuple[str, ...] = ()


class Affected(msgspec.Struct, frozen=True, gc=False):
    """One package of an advisory."""

    ecosystem: str
    package: str
    rule: Rule


_WORDS: Final = (
    b"allows remote attackers to execute arbitrary code via a crafted denial of service vulnerability in before "
    b"https://github.com/advisories/GHSA-https://nvd.nist.gov/vuln/detail/CVE-20https://www.debian.org/security/"
    b"resolvedopennot yet assigned unimportantMinor issueCVSS_V2CVSS_V4CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/"
    b"VA:H/SC:N/SI:N/SA:NCVSS_V3CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
)
_DECOMPRESSED: Final = 64 * 1024 * 1024


def packed(value: msgspec.Struct) -> bytes:
    """MessagePack, compressed with words that most records have."""
    data = msgspec.msgpack.encode(value)
    # Most are a few hundred bytes: with a small window the compressor costs 9 µs to set up, with a full one 60.
    window, memory = (-12, 5) if len(data) < 4096 else (-15, 8)
    press = zlib.compressobj(6, zlib.DEFLATED, window, memory, zdict=_WORDS)
    return press.compress(data) + press.flush()


def unpacked(data: bytes, kind: type[T]) -> T:
    """The value again."""
    unpress = zlib.decompressobj(-15, zdict=_WORDS)
    return msgspec.msgpack.decode(unpress.decompress(data, _DECOMPRESSED), type=kind)
