"""What another scanner says of one package, in one form whatever scanner it is, and the flaws that come of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pilothouse.guard.images.data.base import Risk
from pilothouse.guard.images.match.flaw import UNFIXED, Flaw
from pilothouse.guard.images.match.matcher import by_preference
from pilothouse.guard.images.match.severity import best_score
from pilothouse.guard.images.model import Package

RiskOf = Callable[[Sequence[str]], Risk]
"""EPSS and known exploitation of CVEs, as our own data knows them."""

_SEVERITIES: Final = ("negligible", "low", "medium", "high", "critical")
_SUMMARY: Final = 300
_REFERENCES: Final = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One flaw in one installed package, as a scanner reports it. `vectors` are pairs of CVSS type and vector."""

    ids: tuple[str, ...]
    package: Package
    severity: str
    vectors: tuple[tuple[str, str], ...] = ()
    state: str = UNFIXED
    fixed: str = ""
    summary: str = ""
    references: tuple[str, ...] = ()
    path: str = ""
    layer: int = -1
    risk: Risk | None = None
    """None where the scanner says nothing of it: then our own data is asked."""


def flaws_of(entries: Iterable[Entry], tool: str, risk_of: RiskOf) -> tuple[Flaw, ...]:
    """One flaw for all entries about it in packages of one source, worst first."""
    found: dict[tuple[str, str, str, str], Flaw] = {}
    for entry in entries:
        flaw = _flaw(entry, tool, risk_of)
        key = (flaw.id, flaw.type, flaw.package, flaw.version)
        found[key] = _joined(found[key], flaw) if key in found else flaw
    return tuple(sorted((_plain(flaw) for flaw in found.values()), key=lambda flaw: flaw.rank))


def _flaw(entry: Entry, tool: str, risk_of: RiskOf) -> Flaw:
    ids = tuple(sorted(dict.fromkeys(entry.ids), key=by_preference))
    risk = entry.risk or risk_of(ids)
    package = entry.package
    word = entry.severity.lower()
    score, vector = best_score(entry.vectors)
    return Flaw(
        ids[0],
        ids,
        package.type,
        package.source or package.name,
        package.version,
        (package.name,),
        (entry.path,) if entry.path else (),
        (entry.layer,) if entry.layer >= 0 else (),
        word if word in _SEVERITIES else "unknown",
        score,
        vector,
        entry.state,
        entry.fixed,
        "",
        " ".join(entry.summary.split())[:_SUMMARY],
        tuple(dict.fromkeys(entry.references))[:_REFERENCES],
        (tool,),
        risk.epss,
        risk.percentile,
        risk.kev,
        risk.ransomware,
    )


def _joined(first: Flaw, second: Flaw) -> Flaw:
    return msgspec.structs.replace(
        first,
        ids=tuple(dict.fromkeys((*first.ids, *second.ids))),
        packages=tuple(sorted({*first.packages, *second.packages})),
        paths=tuple(sorted({*first.paths, *second.paths})),
        layers=tuple(sorted({*first.layers, *second.layers})),
    )


def _plain(flaw: Flaw) -> Flaw:
    """Installed packages are named when they are called otherwise than the flaw's."""
    return msgspec.structs.replace(flaw, packages=()) if flaw.packages == (flaw.package,) else flaw


def together(ours: Sequence[Flaw], theirs: Sequence[Flaw]) -> tuple[Flaw, ...]:
    """The flaws of both, each once: what they share any id and a package of is one, told as we know it."""
    left = list(theirs)
    found = []
    for flaw in ours:
        same = [other for other in left if _same(flaw, other)]
        left = [other for other in left if other not in same]
        feeds = tuple(dict.fromkeys((*flaw.feeds, *(feed for other in same for feed in other.feeds))))
        found.append(msgspec.structs.replace(flaw, feeds=feeds))
    return tuple(sorted((*found, *left), key=lambda flaw: flaw.rank))


def _same(one: Flaw, other: Flaw) -> bool:
    names = {one.package.lower(), *(name.lower() for name in one.packages)}
    others = {other.package.lower(), *(name.lower() for name in other.packages)}
    return one.type == other.type and not names.isdisjoint(others) and not set(one.ids).isdisjoint(other.ids)
