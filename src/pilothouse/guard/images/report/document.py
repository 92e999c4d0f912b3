"""What a scan says, however it is written."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from pilothouse.guard.images.data.names import package_name
from pilothouse.guard.images.match.flaw import Flaw, remedy
from pilothouse.guard.images.match.result import Result
from pilothouse.guard.images.match.severity import RATINGS
from pilothouse.guard.images.match.targets import language_ecosystem
from pilothouse.guard.images.match.vex import NO_STATEMENTS, Silenced, Statements, named
from pilothouse.guard.images.match.weakness import Weakness, weaknesses
from pilothouse.guard.images.report.base import Newer, OfBase, of_base

KIND = "PilothouseScanReport"


class BadBaseline(ValueError):
    """The text is no saved run."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One scanned thing, with what is to be shown of it; `known` counts what a baseline has."""

    result: Result
    flaws: tuple[Flaw, ...]
    weaknesses: tuple[Weakness, ...]
    known: int = 0
    silenced: tuple[Silenced, ...] = ()
    """Flaws that a VEX document says do not matter here."""
    base: OfBase | None = None

    @property
    def name(self) -> str:
        return self.result.inventory.name


@dataclass(frozen=True, slots=True)
class ScanOutcome:
    """One run: subjects, and what could not be read (name and reason)."""

    subjects: tuple[Subject, ...]
    unread: tuple[tuple[str, str], ...] = ()
    data: str = ""
    """How old the data is, in a sentence."""

    def counts(self) -> dict[str, int]:
        """Number of flaws and weaknesses by rating, worst first."""
        found = Counter(flaw.severity for subject in self.subjects for flaw in subject.flaws)
        found.update(str(weakness.check.severity) for subject in self.subjects for weakness in subject.weaknesses)
        return {rating: found[rating] for rating in reversed(RATINGS)}

    def reaches(self, threshold: str) -> bool:
        """True when something is as bad as the threshold."""
        least = RATINGS.index(threshold)
        return any(number and RATINGS.index(name) >= least for name, number in self.counts().items())

    @property
    def not_scanned(self) -> bool:
        """Some part of something was not scanned."""
        return any(not subject.result.complete for subject in self.subjects)


def subject_of(
    result: Result,
    *,
    only_fixed: bool = False,
    vex: Statements = NO_STATEMENTS,
    now: float = 0.0,
    newer: Newer | None = None,
) -> Subject:
    """A result as it is shown; `now`, in seconds since 1970, is what its base's age is counted to."""
    inventory = result.inventory
    left, silenced = vex.split(result.flaws, named(inventory.name, (inventory.digest, inventory.index)))
    flaws = tuple(flaw for flaw in left if flaw.fixed or not only_fixed)
    base = of_base(inventory, flaws, now, newer) if now else None
    return Subject(result, flaws, tuple(weaknesses(inventory)), silenced=tuple(silenced), base=base)


def not_read(subject: Subject) -> list[str]:
    """Why packages may be missing from the inventory, whatever data there is."""
    problems = subject.result.inventory.problems
    return [f"{entry.path}: {entry.reason}" if entry.path else entry.reason for entry in problems if entry.packages]


def fingerprint(flaw: Flaw) -> str:
    """The same for the same flaw in the same package of another build, whatever the image's tag; and in its SBOM,
    where package URLs hold names in one form."""
    name = package_name(language_ecosystem(flaw.type) or "", flaw.package)
    return hashlib.sha256(f"{flaw.id}|{flaw.type}|{name}".encode()).hexdigest()[:16]


def weakness_fingerprint(weakness: Weakness) -> str:
    """The same for the same weakness of another build."""
    return hashlib.sha256(f"{weakness.check.id}|{weakness.path}".encode()).hexdigest()[:16]


def fingerprints(text: str) -> frozenset[str]:
    """Those of a saved run (`-o json`). Raises BadBaseline."""
    try:
        tree = msgspec.json.decode(text)
        if tree["kind"] != KIND:
            raise BadBaseline(f"its kind is {tree['kind']!r}, not {KIND}")
        return frozenset(
            str(entry["fingerprint"])
            for subject in tree["subjects"]
            for entry in (*subject["vulnerabilities"], *subject["weaknesses"])
        )
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadBaseline(f"no saved run of `pilothouse scan -o json`: {error}") from error


def new_only(outcome: ScanOutcome, known: frozenset[str]) -> ScanOutcome:
    """Without what a saved run has."""
    return replace(outcome, subjects=tuple(_new(subject, known) for subject in outcome.subjects))


def _new(subject: Subject, known: frozenset[str]) -> Subject:
    flaws = tuple(flaw for flaw in subject.flaws if fingerprint(flaw) not in known)
    others = tuple(entry for entry in subject.weaknesses if weakness_fingerprint(entry) not in known)
    left_out = len(subject.flaws) + len(subject.weaknesses) - len(flaws) - len(others)
    return Subject(subject.result, flaws, others, left_out, subject.silenced, subject.base)


def document(outcome: ScanOutcome) -> dict[str, Any]:
    """The whole outcome as a tree; also the form a later run takes as its baseline."""
    return {
        "kind": KIND,
        "version": 1,
        "counts": outcome.counts(),
        "complete": not outcome.unread and not outcome.not_scanned,
        "data": outcome.data,
        "subjects": [_subject(subject) for subject in outcome.subjects],
        "unread": [{"name": name, "reason": reason} for name, reason in outcome.unread],
    }


def _subject(subject: Subject) -> dict[str, Any]:
    inventory = subject.result.inventory
    return {
        "name": inventory.name,
        "type": inventory.kind,
        "digest": inventory.digest,
        "system": str(inventory.system) if inventory.system else "",
        "packages": len(inventory.packages),
        "ownedBySystemPackages": inventory.owned_elsewhere,
        "layers": [
            {"digest": layer.digest, "size": layer.size, "createdBy": layer.created_by} for layer in inventory.layers
        ],
        "signedBy": inventory.signed_by,
        "notes": list(inventory.notes),
        "base": _base(subject.base),
        "notScanned": list(subject.result.not_scanned),
        "known": subject.known,
        "takenAwayByVex": len(subject.silenced),
        "silenced": [_silenced(entry) for entry in subject.silenced],
        "vulnerabilities": [_flaw(flaw, subject) for flaw in subject.flaws],
        "weaknesses": [
            {
                "id": entry.check.id,
                "severity": str(entry.check.severity),
                "message": entry.message,
                "layer": layer_digest(subject, entry.layer),
                "why": entry.check.why,
                "remedy": entry.check.remedy,
                "fingerprint": weakness_fingerprint(entry),
            }
            for entry in subject.weaknesses
        ],
    }


def _silenced(entry: Silenced) -> dict[str, Any]:
    flaw, said = entry
    return {
        "id": flaw.id,
        "package": flaw.package,
        "version": flaw.version,
        "status": said.status,
        "justification": said.justification,
        "impact": said.impact,
        "by": said.by,
        "document": said.document,
        "place": said.place,
    }


def _base(base: OfBase | None) -> dict[str, Any] | None:
    if base is None:
        return None
    return {
        "name": base.name,
        "digest": base.digest,
        "layers": base.layers,
        "created": base.created,
        "ageDays": base.days,
        "vulnerabilities": len(base.flaws),
        "withFix": base.fixable,
        "newer": {
            "name": base.newer.name,
            "digest": base.newer.digest,
            "same": base.same,
            "lacks": [fingerprint(flaw) for flaw in base.lacking],
        }
        if base.newer is not None
        else None,
        "advice": base.sentence(),
    }


def _flaw(flaw: Flaw, subject: Subject) -> dict[str, Any]:
    return {
        "id": flaw.id,
        "ids": list(flaw.ids),
        "severity": flaw.severity,
        "score": flaw.score or None,
        "vector": flaw.vector,
        "knownExploited": flaw.kev,
        "ransomware": flaw.ransomware,
        "epss": flaw.epss,
        "epssPercentile": flaw.percentile,
        "type": flaw.type,
        "package": flaw.package,
        "installed": list(flaw.packages or (flaw.package,)),
        "version": flaw.version,
        "state": flaw.state,
        "fixedVersion": flaw.fixed,
        "reason": flaw.reason,
        "remedy": remedy(flaw),
        "paths": list(flaw.paths),
        "layers": [layer_digest(subject, layer) for layer in flaw.layers],
        "summary": flaw.summary,
        "references": list(flaw.references),
        "sources": list(flaw.feeds),
        "fingerprint": fingerprint(flaw),
    }


def layer_digest(subject: Subject, number: int) -> str:
    """Digest of a layer, "" when there is none."""
    layers = subject.result.inventory.layers
    return layers[number].digest if 0 <= number < len(layers) else ""
