"""OSV records. Source: OSV schema 1.7 (ossf.github.io/osv-schema)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec

from pilothouse.guard.images.data.names import package_name
from pilothouse.guard.images.data.records import (
    FIXED,
    INTRODUCED,
    LAST_AFFECTED,
    LIMIT,
    Advisory,
    Affected,
    Event,
    Rule,
)
from pilothouse.guard.images.data.write import Parsed, Writer
from pilothouse.guard.images.model import NOT_JSON

_SUMMARY: Final = 300
_REFERENCES: Final = 3
_WORDS_OF_AFFECTED: Final = (("urgency", "urgency"), ("ubuntu_priority", "Ubuntu"), ("severity", "word"))
_WANTED_FIRST: Final = ("ADVISORY", "FIX", "REPORT", "ARTICLE", "WEB", "PACKAGE")


class _Event(msgspec.Struct):
    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class _Range(msgspec.Struct):
    type: str
    events: list[_Event] = []


class _Severity(msgspec.Struct):
    type: str
    score: str


class _Package(msgspec.Struct):
    ecosystem: str
    name: str
    purl: str = ""


class _Affected(msgspec.Struct):
    package: _Package | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    severity: list[_Severity] | None = None
    ecosystem_specific: dict[str, Any] | None = None
    database_specific: dict[str, Any] | None = None


class _Reference(msgspec.Struct):
    url: str
    type: str = "WEB"


class _Record(msgspec.Struct):
    id: str
    modified: str = ""
    published: str = ""
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    summary: str = ""
    details: str = ""
    severity: list[_Severity] | None = None
    affected: list[_Affected] | None = None
    references: list[_Reference] | None = None
    database_specific: dict[str, Any] | None = None


class _Ident(msgspec.Struct):
    id: str


_RECORD: Final = msgspec.json.Decoder(_Record)
_IDENT: Final = msgspec.json.Decoder(_Ident)


def take_record(writer: Writer, data: bytes, where: str) -> None:
    """Takes one record in; a broken one is counted."""
    try:
        ident = _IDENT.decode(data).id
    except NOT_JSON as error:
        writer.broken(f"{where}: {error}")
        return

    def parse() -> Parsed | None:
        try:
            return parsed(data)
        except NOT_JSON as error:
            writer.broken(f"{ident}: {error}")
            return None

    writer.put(ident, blake2b(data, digest_size=8).digest(), parse)


def parsed(data: bytes) -> Parsed:
    """An advisory and the packages it affects. Raises msgspec.DecodeError."""
    record = _RECORD.decode(data)
    summary = record.summary or record.details
    upstream = record.upstream or _upstream_of(record)
    specific = record.database_specific or {}
    severity = [(entry.type, entry.score) for entry in record.severity or ()]
    if isinstance(specific.get("severity"), str):
        severity.append(("word", specific["severity"]))
    advisory = Advisory(
        record.id,
        tuple(record.aliases or ()),
        tuple(upstream),
        " ".join(summary.split())[:_SUMMARY],
        tuple(severity),
        record.published[:10],
        record.modified[:19],
        (record.withdrawn or "")[:10],
        _references(record.references or []),
    )
    rules: dict[tuple[str, str], Rule] = {}
    for affected in record.affected or ():
        if affected.package is not None:
            key = (affected.package.ecosystem, package_name(affected.package.ecosystem, affected.package.name))
            rules[key] = _joined(rules.get(key), _rule(affected))
    return advisory, [Affected(ecosystem, name, rule) for (ecosystem, name), rule in rules.items()]


def _upstream_of(record: _Record) -> list[str]:
    """Before schema 1.7 distributions named the flaws they answer under `related`."""
    if record.id.startswith(("CVE-", "GHSA-", "PYSEC-", "GO-", "RUSTSEC-", "MAL-")):
        return []
    return [ident for ident in record.related or () if ident.startswith("CVE-")]


def _rule(affected: _Affected) -> Rule:
    ranges = tuple(
        tuple(event for entry in part.events for event in _events(entry))
        for part in affected.ranges or ()
        if part.type in ("ECOSYSTEM", "SEMVER")
    )
    severity = [(entry.type, entry.score) for entry in affected.severity or ()]
    specific = {**(affected.database_specific or {}), **(affected.ecosystem_specific or {})}
    for key, kind in _WORDS_OF_AFFECTED:
        if isinstance(specific.get(key), str):
            severity.append((kind, specific[key]))
    return Rule(tuple(part for part in ranges if part), tuple(affected.versions or ()), {}, tuple(severity))


def _events(event: _Event) -> list[Event]:
    pairs = (
        (INTRODUCED, event.introduced),
        (FIXED, event.fixed),
        (LAST_AFFECTED, event.last_affected),
        (LIMIT, event.limit),
    )
    return [Event(kind, version) for kind, version in pairs if version is not None]


def _joined(first: Rule | None, second: Rule) -> Rule:
    if first is None:
        return second
    return Rule(first.ranges + second.ranges, first.versions + second.versions, {}, first.severity or second.severity)


def _references(references: list[_Reference]) -> tuple[str, ...]:
    def rank(reference: _Reference) -> int:
        return _WANTED_FIRST.index(reference.type) if reference.type in _WANTED_FIRST else len(_WANTED_FIRST)

    links = (reference for reference in references if reference.url.startswith(("https://", "http://")))
    return tuple(reference.url[:300] for reference in sorted(links, key=rank)[:_REFERENCES])
