"""What is to be sent to a receiver: the difference between what is open and what it was told. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from pilothouse.guard.finding import Severity
from pilothouse.guard.findings.model import Row
from pilothouse.guard.findings.sending.settings import Target
from pilothouse.guard.findings.sent import Sent
from pilothouse.kinds.guard.finding import OPEN
from pilothouse.machinery.objects import timestamp

SETTLED: Final = dt.timedelta(seconds=60)
"""What is gone sooner is not sent."""
CREATE, UPDATE, CLOSE, REOPEN = "create", "update", "close", "reopen"
NOBODY: Final = "(nobody)"


class Action(NamedTuple):
    """One thing to send. `row` is None for a finding that is forgotten."""

    what: str
    key: str
    row: Row | None
    sent: Sent | None


def wanted(target: Target, row: Row) -> bool:
    """Whether a receiver is told of such findings."""
    return (
        row.check.severity >= target.severity
        and row.subject != about(target)
        and (not target.owners or (row.owner or NOBODY) in target.owners)
        and (not target.namespaces or row.namespace in target.namespaces)
    )


def about(target: Target) -> str:
    """The subject of findings about a receiver, of which it is not told itself."""
    return f"receiver {target.name}"


def actions(target: Target, rows: Mapping[str, Row], sent: Mapping[str, Sent], now: dt.datetime) -> list[Action]:
    """What is left to send, the worst first. In quiet hours only what is critical and new."""
    settled = timestamp(now - SETTLED)
    found: list[Action] = []
    for key, row in rows.items():
        told = sent.get(key)
        if row.state == OPEN and wanted(target, row):
            if told is None or not told.external:
                if row.first_seen <= settled:
                    found.append(Action(CREATE, key, row, told))
            elif not told.open:
                found.append(Action(REOPEN, key, row, told))
            elif told.words != words(row):
                found.append(Action(UPDATE, key, row, told))
    for key, told in sent.items():
        row_now = rows.get(key)
        if told.open and (row_now is None or row_now.state != OPEN):
            found.append(Action(CLOSE, key, row_now, told))
    if target.is_quiet(now):
        urgent = (action for action in found if action.row is not None and action.what in (CREATE, REOPEN))
        found = [action for action in urgent if action.row and action.row.check.severity is Severity.CRITICAL]
    return sorted(found, key=lambda action: (-(action.row.check.severity if action.row else 0), action.key))


def words(row: Row) -> str:
    """Another text when what is told of a finding is another."""
    text = repr((row.check, row.message, row.container, row.field, row.owner, row.evidence))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def digest(target: Target, rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The open findings a receiver is told of, by owner, the worst first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.state == OPEN and wanted(target, row):
            found.setdefault(row.owner or NOBODY, []).append(row)
    return {
        owner: sorted(entries, key=lambda r: (-r.check.severity, r.key)) for owner, entries in sorted(found.items())
    }


def title(row: Row) -> str:
    """A finding in one line."""
    where = "/".join(part for part in (row.ref.namespace, row.ref.kind, row.ref.name) if part)
    container = f" container {row.container}" if row.container else ""
    return f"[{row.check.severity}] {where}:{container} {row.message}"[:250]


def text(row: Row, fence: tuple[str, str] = ("```yaml", "```")) -> str:
    """A finding at length; `fence` is what the receiver writes before and after code."""
    facts = [("Rule", row.check.id), ("Field", row.field), ("Owner", row.owner or NOBODY), ("Why", row.check.why)]
    facts += [*row.evidence, ("Standards", row.check.standards), ("First seen", row.first_seen)]
    lines = [f"- {name}: {value}" for name, value in facts if value]
    return "\n".join([marker(row.key), "", row.message, "", *lines, "", fence[0], row.check.remedy, fence[1]])


def marker(key: str) -> str:
    """What tells a finding's issue from every other, so that it is found again."""
    return f"pilothouse-finding: {key.partition('/findings/')[2]}"


def digest_text(owner: str, rows: Sequence[Row]) -> str:
    """One owner's findings in a message."""
    counted = Counter(str(row.check.severity) for row in rows)
    told = ", ".join(f"{counted[str(s)]} {s}" for s in sorted(Severity, reverse=True) if counted[str(s)])
    more = [f"… and {len(rows) - 10} more"] if len(rows) > 10 else []
    return "\n".join([f"{owner}: {len(rows)} findings ({told})", *(f"- {title(row)}" for row in rows[:10]), *more])
