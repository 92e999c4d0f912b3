"""From what is kept of a subject and what was found now to the rows that change. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pilothouse.guard.finding import Finding
from pilothouse.guard.findings.model import PREFIX, SILENCED, Basis, Report, Row, Unknown, World, finding_of, home
from pilothouse.kinds.guard.finding import ACCEPTED, OPEN, RESOLVED


def changes(
    kept: Mapping[str, Row], report: Report, previous: Basis | None, world: World, now: str, stale: str
) -> list[Row]:
    """The rows (revision 0) that differ from those kept of the report's subject, by key.

    `previous` is the basis of the last judgement; `stale` is the moment before which a last sight is written anew.
    """
    changed: list[Row] = []
    seen: set[str] = set()
    for key, row in _wanted(report, world, now, because(previous, report.basis)):
        seen.add(key)
        old = kept.get(key)
        if old is not None and old.state != RESOLVED:
            row = replace(row, first_seen=old.first_seen, because=old.because)
            if isinstance(world, Unknown):
                # Nothing is known yet, as while a process starts: what was known before holds.
                state = ACCEPTED if old.exemption else row.state
                row = replace(row, owner=old.owner, state=state, exemption=old.exemption)
            if row.same_as(old) and old.last_seen > stale:
                continue
        changed.append(row)
    for key, old in kept.items():
        if key not in seen and old.state != RESOLVED:
            changed.append(replace(old, state=RESOLVED, resolved_at=now, exemption=""))
    return changed


def because(previous: Basis | None, basis: Basis) -> str:
    """What changed since the last judgement; the object when there was none, or when nothing of it is known to have
    changed (another object did, then)."""
    if previous is None or previous.object != basis.object:
        return "ObjectChanged"
    if previous.rules != basis.rules:
        return "RuleChanged"
    return "DataChanged" if previous.data != basis.data else "ObjectChanged"


def reconsidered(rows: Iterable[Row], world: World) -> Iterator[Row]:
    """Rows whose owner or exemption is another one now."""
    for row in rows:
        if row.state != RESOLVED:
            owner, state, exemption = _belongs(finding_of(row), dict(row.evidence), world)
            fresh = replace(row, owner=owner, state=state, exemption=exemption)
            if not fresh.same_as(row):
                yield fresh


def _wanted(report: Report, world: World, now: str, reason: str) -> Iterator[tuple[str, Row]]:
    counted: Counter[str] = Counter()
    for found in report.found:
        finding = found.finding
        fingerprint = finding.fingerprint
        key = key_of(report, finding, counted[fingerprint])
        counted[fingerprint] += 1
        owner, state, exemption = _belongs(finding, found.evidence, world)
        row = Row(
            key,
            0,
            report.source,
            report.subject,
            finding.check,
            finding.ref,
            finding.message,
            finding.container,
            finding.field,
            tuple(sorted(found.evidence.items())),
            state,
            owner,
            first_seen=now,
            last_seen=now,
            resolved_at="",
            because=reason,
            exemption=exemption,
        )
        yield key, row


def _belongs(finding: Finding, evidence: Mapping[str, str], world: World) -> tuple[str, str, str]:
    """Owner, state and exemption."""
    exemption = world.exemption(finding)
    return world.owner(finding.ref), ACCEPTED if exemption or SILENCED in evidence else OPEN, exemption


def key_of(report: Report, finding: Finding, ordinal: int) -> str:
    """The store's key; the same for the same finding of a later report, wherever the lines have moved to."""
    text = "|".join((report.source, report.subject, finding.fingerprint, str(ordinal)))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    rule = re.sub(r"[^a-z0-9-]+", "-", finding.check.id.lower()).strip("-")[:200].rstrip("-")
    return f"{PREFIX}{home(finding.ref)}/{rule}-{digest}"
