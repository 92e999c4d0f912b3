"""What sources hand in, and what is kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from pilothouse.guard.finding import Check, Finding, Ref
from pilothouse.kinds.guard.finding import FINDINGS, HOME

PREFIX = f"{FINDINGS.group}/{FINDINGS.plural}/"


SILENCED: Final = "silenced-by"
"""Evidence that makes a finding accepted: who says that it does not matter, and why."""


class Basis(NamedTuple):
    """What a judgement rests on, each as any text that changes when the thing does."""

    object: str = ""
    rules: str = ""
    data: str = ""


NO_BASIS: Final = Basis()


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is wrong; `evidence` is what it rests on, by name."""

    finding: Finding
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All that is wrong with a subject now."""

    source: str
    subject: str
    found: tuple[Found, ...]
    basis: Basis = NO_BASIS


@dataclass(frozen=True, slots=True)
class Row:
    """A finding as it is kept. Times are RFC 3339; immutable, so that lists may hold on to it."""

    key: str
    """The key in the store: group, plural, namespace, name."""
    revision: int
    source: str
    subject: str
    check: Check
    ref: Ref
    message: str
    container: str
    field: str
    evidence: tuple[tuple[str, str], ...]
    state: str
    owner: str
    first_seen: str
    last_seen: str
    resolved_at: str
    because: str
    exemption: str

    @property
    def namespace(self) -> str:
        return self.key.split("/", 3)[2]

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    def same_as(self, other: Row) -> bool:
        """Whether nothing but revision and the time it was last seen differs."""
        mine, theirs = ((r.check, r.message, r.field, r.evidence, r.state, r.owner, r.exemption) for r in (self, other))
        return mine == theirs


class World(Protocol):
    """What is known of the objects that findings are about."""

    def owner(self, ref: Ref) -> str:
        """Who owns an object, "" when nobody does."""

    def exemption(self, finding: Finding) -> str:
        """The exemption (namespace/name) that accepts a finding, "" when there is none."""


class Unknown:
    """Nothing is known: no owners, no exemptions."""

    def owner(self, ref: Ref) -> str:
        return ""

    def exemption(self, finding: Finding) -> str:
        return ""


def home(ref: Ref) -> str:
    """The namespace a finding is kept in: its object's, the namespace itself for a Namespace."""
    if ref.namespace:
        return ref.namespace
    return ref.name if ref.kind == "Namespace" and ref.name else HOME


def finding_of(row: Row) -> Finding:
    """The finding a row was made from."""
    return Finding(row.check, row.ref, row.message, row.container, row.field)


def by_subject(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.source, row.subject), []).append(row)
    return grouped
