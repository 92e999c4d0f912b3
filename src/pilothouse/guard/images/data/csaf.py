"""CSAF 2.0 documents: advisories and VEX of distributions, as Red Hat and SUSE publish them.

A document names products by a tree, puts components into platforms by relationships, and says of each vulnerability
which of these are fixed or affected. Source: OASIS, "Common Security Advisory Framework Version 2.0".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Final

import msgspec

from pilothouse.guard.images.data.names import LANGUAGES, package_name
from pilothouse.guard.images.data.records import (
    FIXED,
    INTRODUCED,
    LAST_AFFECTED,
    NO_FIX_PLANNED,
    Advisory,
    Affected,
    Event,
    Rule,
)
from pilothouse.guard.images.data.write import Parsed, Writer
from pilothouse.guard.images.inventory.sbom import package_of
from pilothouse.guard.images.model import NOT_JSON

MARK: Final = b'"csaf_version"'
_SUMMARY: Final = 300
_REFERENCES: Final = 3
_DEEPEST: Final = 8
"""Of relationships, each naming one before; a circle ends here too."""
_NO_FIX: Final = {"no_fix_planned": NO_FIX_PLANNED, "none_available": "no fix yet", "fix_planned": "fix planned"}
_CPE: Final = re.compile(r"cpe:(?:/|2\.3:)[oa]:redhat:(enterprise_linux:.+)")
_NEVRA: Final = re.compile(
    r"([^:/]+)-(\d+:)?([^-:]+-[^-:]+)\.(?:src|nosrc|noarch|x86_64|i[356]86|aarch64|ppc64le|s390x)"
)
_SUSE: Final = re.compile(r"(openSUSE|SUSE) ((?:Linux Enterprise|Leap|Tumbleweed|Package Hub).*)")


class _Helper(msgspec.Struct):
    cpe: str = ""
    purl: str = ""


class _Product(msgspec.Struct):
    product_id: str
    name: str = ""
    product_identification_helper: _Helper | None = None


class _Branch(msgspec.Struct):
    product: _Product | None = None
    branches: list[_Branch] = []


class _Relationship(msgspec.Struct):
    full_product_name: _Product
    product_reference: str
    relates_to_product_reference: str


class _Tree(msgspec.Struct):
    branches: list[_Branch] = []
    full_product_names: list[_Product] = []
    relationships: list[_Relationship] = []


class _Text(msgspec.Struct):
    category: str = ""
    text: str = ""
    details: str = ""
    url: str = ""
    product_ids: list[str] = []


class _Vector(msgspec.Struct, rename={"vector": "vectorString"}):
    vector: str = ""


class _Score(msgspec.Struct):
    products: list[str] = []
    cvss_v2: _Vector | None = None
    cvss_v3: _Vector | None = None
    cvss_v4: _Vector | None = None


class _Status(msgspec.Struct):
    fixed: list[str] = []
    first_fixed: list[str] = []
    known_affected: list[str] = []
    last_affected: list[str] = []


class _Vulnerability(msgspec.Struct):
    cve: str = ""
    title: str = ""
    notes: list[_Text] = []
    product_status: _Status | None = None
    remediations: list[_Text] = []
    threats: list[_Text] = []
    scores: list[_Score] = []


class _Tracking(msgspec.Struct):
    id: str
    initial_release_date: str = ""
    current_release_date: str = ""


class _Severity(msgspec.Struct):
    text: str = ""


class _Document(msgspec.Struct):
    tracking: _Tracking
    csaf_version: str
    title: str = ""
    references: list[_Text] = []
    aggregate_severity: _Severity | None = None


class _Csaf(msgspec.Struct):
    document: _Document
    product_tree: _Tree | None = None
    vulnerabilities: list[_Vulnerability] = []


_DECODER: Final = msgspec.json.Decoder(_Csaf)


def take_document(writer: Writer, data: bytes, where: str) -> None:
    """Takes a document in, each of its vulnerabilities as one record; a broken one is counted."""
    try:
        csaf = _DECODER.decode(data)
    except NOT_JSON as error:
        writer.broken(f"{where}: {error}")
        return
    products = _Products(csaf.product_tree or _Tree())
    digest = blake2b(data, digest_size=8).digest()
    for number, vulnerability in enumerate(csaf.vulnerabilities):
        ident = f"{csaf.document.tracking.id} {vulnerability.cve or number}"
        writer.put(ident, digest, partial(_parsed, csaf.document, vulnerability, products))


class _Products:
    """Platforms and components by product id."""

    def __init__(self, tree: _Tree) -> None:
        self._plain = {product.product_id: product for product in _all_products(tree)}
        self._placed = {
            entry.full_product_name.product_id: (entry.product_reference, entry.relates_to_product_reference)
            for entry in tree.relationships
        }

    def package(self, product_id: str) -> tuple[str, str, str] | None:
        """Ecosystem, name and version ("" for all) of a component; None for what is no package we could look up."""
        platform, component = "", product_id
        for _ in range(_DEEPEST):  # a package in a module in a platform
            if component not in self._placed:
                break
            component, outer = self._placed[component]
            platform = platform or self._outermost(outer)
        ecosystem = self._ecosystem(platform)
        helper = self._helper(component)
        if helper is not None and helper.purl:
            return _by_url(helper.purl, ecosystem)
        return (ecosystem, *_by_name(component)) if ecosystem else None

    def _outermost(self, product_id: str) -> str:
        for _ in range(_DEEPEST):
            if product_id not in self._placed:
                break
            product_id = self._placed[product_id][1]
        return product_id

    def _helper(self, product_id: str) -> _Helper | None:
        product = self._plain.get(product_id)
        return product.product_identification_helper if product else None

    def _ecosystem(self, platform: str) -> str:
        helper, product = self._helper(platform), self._plain.get(platform)
        match = _CPE.match(helper.cpe) if helper else None
        if match:
            name = f"Red Hat:{match[1]}"
            return name if name.count(":") > 2 or "." in name else f"{name}::"
        found = _SUSE.match(product.name) if product else None
        return f"{found[1]}:{found[2]}" if found else ""


def _all_products(tree: _Tree) -> Iterator[_Product]:
    yield from tree.full_product_names
    pending = list(tree.branches)
    while pending:
        branch = pending.pop()
        if branch.product is not None:
            yield branch.product
        pending += branch.branches


def _by_name(component: str) -> tuple[str, str]:
    """Name and version of a component that is called as RPM's files are, or by its name alone."""
    match = _NEVRA.fullmatch(component)
    if match is None:
        return component.removesuffix(".src"), ""
    return match[1], f"{match[2] or ''}{match[3]}"


@lru_cache(maxsize=4096)
def _by_url(url: str, ecosystem: str) -> tuple[str, str, str] | None:
    package, _ = package_of(url)
    if package is None:
        return None
    if package.type != "rpm":
        ecosystem = LANGUAGES.get(package.type, "")
    return (ecosystem, package_name(ecosystem, package.name), package.version) if ecosystem else None


@dataclass(slots=True)
class _Said:
    """What a vulnerability says of one package."""

    fixed: dict[str, None] = field(default_factory=dict)
    affected: dict[str, None] = field(default_factory=dict)
    last: dict[str, None] = field(default_factory=dict)
    reason: str = ""

    def rule(self, severity: tuple[tuple[str, str], ...]) -> Rule:
        start = Event(INTRODUCED, "0")
        ranges: list[tuple[Event, ...]] = [(start, Event(FIXED, version)) for version in self.fixed]
        ranges += [(start, Event(LAST_AFFECTED, version)) for version in self.last]
        if not self.fixed and "" in self.affected:
            ranges.append((start,))
        versions = tuple(version for version in self.affected if version)
        return Rule(tuple(ranges), versions, {}, severity, self.reason if not self.fixed else "")


def _parsed(document: _Document, vulnerability: _Vulnerability, products: _Products) -> Parsed:
    said = _said(vulnerability, products)
    severity = _severity(document, vulnerability)
    notes = [note.text for note in vulnerability.notes if note.category in ("summary", "description")]
    links = [entry.url for entry in document.references if entry.url.startswith(("https://", "http://"))]
    advisory = Advisory(
        document.tracking.id,
        (),
        (vulnerability.cve,) if vulnerability.cve not in ("", document.tracking.id) else (),
        " ".join((next(iter(notes), "") or vulnerability.title or document.title).split())[:_SUMMARY],
        tuple(_vectors(vulnerability.scores)),
        document.tracking.initial_release_date[:10],
        document.tracking.current_release_date[:19],
        "",
        tuple(link[:300] for link in links[:_REFERENCES]),
    )
    return advisory, [Affected(*key, entry.rule(severity)) for key, entry in said.items()]


def _said(vulnerability: _Vulnerability, products: _Products) -> dict[tuple[str, str], _Said]:
    reasons = {
        product: f"{_NO_FIX[entry.category]}: {entry.details}"[:200].rstrip(": ")
        for entry in vulnerability.remediations
        if entry.category in _NO_FIX
        for product in entry.product_ids
    }
    status = vulnerability.product_status or _Status()
    found: dict[tuple[str, str], _Said] = {}
    for listed, kind in (
        ([*status.fixed, *status.first_fixed], "fixed"),
        (status.known_affected, "affected"),
        (status.last_affected, "last"),
    ):
        for product in listed:
            package = products.package(product)
            if package is None:
                continue
            entry = found.setdefault(package[:2], _Said())
            getattr(entry, kind)[package[2]] = None
            entry.reason = entry.reason or reasons.get(product, "")
    for entry in found.values():
        entry.fixed.pop("", None)
        entry.last.pop("", None)
    return {key: entry for key, entry in found.items() if entry.fixed or entry.affected or entry.last}


def _severity(document: _Document, vulnerability: _Vulnerability) -> tuple[tuple[str, str], ...]:
    words = [threat.details for threat in vulnerability.threats if threat.category == "impact"]
    if not words and document.aggregate_severity is not None:
        words = [document.aggregate_severity.text]
    return (("impact", words[0]),) if words else ()


def _vectors(scores: Iterable[_Score]) -> Iterator[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for score in scores:
        for kind, vector in (("CVSS_V2", score.cvss_v2), ("CVSS_V3", score.cvss_v3), ("CVSS_V4", score.cvss_v4)):
            if vector is not None and vector.vector:
                found[kind, vector.vector] = None
    return iter(list(found)[:4])
