"""Grype's report: `grype … -o json`. Source: Grype documentation and its published JSON schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pilothouse.guard.images.data.base import Risk
from pilothouse.guard.images.inventory.sbom import package_of
from pilothouse.guard.images.match.flaw import FIXED, UNFIXED, WONT_FIX
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.model import NOT_JSON, Inventory, Layer, NotReadable, Package, Placed, System
from pilothouse.guard.images.others.entries import Entry, RiskOf, flaws_of

TOOL: Final = "grype"
_STATES: Final = {"fixed": FIXED, "wont-fix": WONT_FIX}
_SYSTEM_TYPES: Final = ("deb", "apk", "rpm")


class _Cvss(msgspec.Struct):
    version: str = ""
    vector: str = ""


class _Fix(msgspec.Struct):
    versions: list[str] | None = None
    state: str = ""


class _Epss(msgspec.Struct):
    epss: float = 0.0
    percentile: float = 0.0


class _Exploited(msgspec.Struct, rename="camel"):
    date_added: str = ""
    known_ransomware_campaign_use: str = ""


class _Vulnerability(msgspec.Struct, rename="camel"):
    id: str
    data_source: str = ""
    severity: str = ""
    description: str = ""
    cvss: list[_Cvss] | None = None
    fix: _Fix | None = None
    epss: list[_Epss] | None = None
    known_exploited: list[_Exploited] | None = None


class _Location(msgspec.Struct):
    path: str = ""
    layer: str = msgspec.field(default="", name="layerID")


class _Upstream(msgspec.Struct):
    name: str = ""


class _Artifact(msgspec.Struct):
    name: str
    version: str = ""
    type: str = ""
    purl: str = ""
    locations: list[_Location] | None = None
    upstreams: list[_Upstream] | None = None


class _Match(msgspec.Struct, rename="camel"):
    vulnerability: _Vulnerability
    artifact: _Artifact
    related_vulnerabilities: list[_Vulnerability] | None = None


class _Source(msgspec.Struct):
    type: str = ""
    target: Any = None


class _Distro(msgspec.Struct):
    name: str = ""
    version: str = ""


class _Report(msgspec.Struct, rename="camel"):
    matches: list[_Match]
    source: _Source | None = None
    distro: _Distro | None = None
    ignored_matches: list[Any] | None = None


def is_grype(tree: object) -> bool:
    """True for a report of Grype."""
    descriptor = tree.get("descriptor") if isinstance(tree, dict) else None
    return isinstance(descriptor, dict) and descriptor.get("name") == TOOL


def grype_result(data: bytes, name: str, risk: RiskOf) -> Result:
    """The report as our own result. Raises NotReadable."""
    try:
        report = msgspec.json.decode(data, type=_Report)
    except NOT_JSON as error:
        raise NotReadable(f"{name}: no report of Grype that we understand: {error}") from error
    source = report.source or _Source()
    target = source.target if isinstance(source.target, dict) else {"userInput": str(source.target or "")}
    listed = target.get("layers")
    digests = [
        str(layer.get("digest")) for layer in (listed if isinstance(listed, list) else ()) if isinstance(layer, dict)
    ]
    numbers = {digest: number for number, digest in enumerate(digests)}
    entries = [_entry(match, numbers) for match in report.matches]
    distro = report.distro
    system = System(distro.name, distro.version) if distro is not None and distro.name else None
    notes = ["as Grype reports it, which lists vulnerable packages only"]
    if report.ignored_matches:
        notes.append(f"{len(report.ignored_matches)} matches that Grype was told to ignore")
    inventory = Inventory(
        str(target.get("userInput") or name),
        "image" if source.type == "image" else "directory",
        str(target.get("manifestDigest") or ""),
        system,
        tuple(Layer(digest, digest) for digest in digests),
        tuple(dict.fromkeys(Placed(entry.package, entry.layer) for entry in entries)),
        user="unknown",
        notes=tuple(notes),
    )
    missing = (
        ()
        if entries or system is not None
        else ("Grype recognised no system and found no match: what it looked at is not known",)
    )
    return Result(inventory, flaws_of(entries, TOOL, risk), missing)


def _entry(match: _Match, numbers: dict[str, int]) -> Entry:
    flaw, related = match.vulnerability, match.related_vulnerabilities or []
    fix = flaw.fix or _Fix()
    fixed = (fix.versions or [""])[0] if fix.state == "fixed" else ""
    place = (match.artifact.locations or [_Location()])[0]
    cvss = [entry for each in (flaw, *related) for entry in each.cvss or ()]
    return Entry(
        (flaw.id, *(each.id for each in related)),
        _package(match.artifact),
        flaw.severity,
        tuple((f"CVSS_V{entry.version[:1]}", entry.vector) for entry in cvss),
        _STATES.get(fix.state, UNFIXED),
        fixed,
        flaw.description or next((each.description for each in related if each.description), ""),
        (flaw.data_source,) if flaw.data_source else (),
        place.path.lstrip("/"),
        numbers.get(place.layer, -1),
        _risk(match),
    )


def _package(artifact: _Artifact) -> Package:
    package = package_of(artifact.purl)[0] if artifact.purl else None
    package = package or Package(artifact.type, artifact.name, artifact.version)
    source = next((entry.name for entry in artifact.upstreams or () if entry.name), package.source)
    if package.type not in _SYSTEM_TYPES or source == package.name:
        source = ""
    return msgspec.structs.replace(package, version=artifact.version, source=source, source_version="")


def _risk(match: _Match) -> Risk | None:
    every = (match.vulnerability, *(match.related_vulnerabilities or ()))
    scores = [entry for each in every for entry in each.epss or ()]
    exploited: Iterator[_Exploited] = (entry for each in every for entry in each.known_exploited or ())
    listed = next(exploited, None)
    best = max(scores, key=lambda entry: entry.epss, default=None)
    if best is None and listed is None:
        return None
    return Risk(
        best.epss if best else None,
        best.percentile if best else None,
        (listed.date_added or "listed") if listed else "",
        bool(listed and listed.known_ransomware_campaign_use.lower() == "known"),
    )
