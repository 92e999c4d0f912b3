"""What is said about findings at the door: a refusal, warnings, a note for the audit log. Pure.

- Refused is only what the write brings: a finding that the object had before is warned about.
- What Pod Security also names is Pod Security's: it is refused here only where Pod Security refuses such pods too (so
  that one label allows it), and warned about only where Pod Security does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from pilothouse.guard.door.settings import AUDIT, ENFORCE, LEVELS, MODE, POD_SECURITY, Settings
from pilothouse.guard.finding import Finding, Severity

_LEVEL = re.compile(r"Pod Security Standards: (baseline|restricted)")
MOST_WARNINGS = 3
_LONGEST = 240
_MOST_NAMED = 60


class Outcome(NamedTuple):
    """`refusal` is "" when the write may go on; `annotation` is "" when there is nothing to note; `not_checked` are
    ids of checks that could not be evaluated."""

    refusal: str = ""
    warnings: tuple[str, ...] = ()
    annotation: str = ""
    not_checked: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What a finding is known again by, in another version of its object."""

    check: str
    container: str
    message: str


def seen(finding: Finding) -> Seen:
    """Its identity over versions: places move, what is wrong stays."""
    return Seen(finding.check.id, finding.container, finding.message)


def refusable(findings: Iterable[Finding], settings: Settings) -> list[Finding]:
    """Those that would be refused, if the object did not have them before."""
    if settings.mode != ENFORCE:
        return []
    return [
        finding
        for finding in findings
        if finding.check.severity >= settings.severity and _covered(_level(finding), settings.enforced, otherwise=True)
    ]


def decide(
    findings: Sequence[Finding], before: Collection[Seen], namespace: str, settings: Settings, *, heard: bool
) -> Outcome:
    """`before` is what the object had; `heard`: somebody reads warnings (controllers do not)."""
    refused = [finding for finding in refusable(findings, settings) if seen(finding) not in before]
    if refused:
        return Outcome(_refusal(refused, namespace), annotation=_named(refused))
    if settings.mode == AUDIT or not heard:
        return Outcome(annotation=_named(findings))
    told = [finding for finding in findings if not _covered(_level(finding), settings.warned, otherwise=False)]
    new = [finding for finding in told if seen(finding) not in before]
    return Outcome("", tuple(_warnings(new)), _named(findings))


def _level(finding: Finding) -> str:
    """The Pod Security level that forbids it too, "" for none."""
    found = _LEVEL.search(finding.check.standards)
    return found[1] if found else ""


def _covered(level: str, applied: str, *, otherwise: bool) -> bool:
    """Whether applying a Pod Security level takes care of what `level` forbids."""
    return LEVELS.index(level) <= LEVELS.index(applied) if level else otherwise


def _refusal(refused: Sequence[Finding], namespace: str) -> str:
    told = "; ".join(_line(group) for group in _grouped(refused))
    first = refused[0]
    label = f"{MODE}=warn"
    if _level(first):
        label += f" {POD_SECURITY}enforce=privileged"
    return (
        f"the guard found {told}. Why and how to mend it: pilothouse check --explain {first.check.id}; to accept it, "
        f"ask for an Exemption, or allow it in this namespace: kubectl label namespace {namespace} --overwrite {label}"
    )


def _warnings(told: Sequence[Finding]) -> Iterable[str]:
    """The worst, a line for each check; the rest are counted."""
    groups = _grouped(told)
    shown = [group for group in groups if group[0].check.severity > Severity.LOW][:MOST_WARNINGS]
    yield from (f"guard: {_line(group)}" for group in shown)
    left = len(groups) - len(shown)
    if left:
        what = "finding" if left == 1 else "findings"
        yield f"guard: {left} more {what} of less weight; pilothouse check shows all of them, and how to mend them"


def _grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one check with one message, the worst first."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda found: (-found.check.severity, found.check.id)):
        groups.setdefault((finding.check.id, finding.message), []).append(finding)
    return list(groups.values())


def _line(group: Sequence[Finding]) -> str:
    first = group[0]
    containers = list(dict.fromkeys(finding.container for finding in group if finding.container))
    where = ""
    if containers:
        where = f"container{'s' if len(containers) > 1 else ''} {', '.join(containers)}: "
    text = f"{first.check.id} ({first.check.severity}): {where}{first.message}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _named(findings: Sequence[Finding]) -> str:
    """Check ids with what they concern, for the audit log."""
    names = [f"{finding.check.id}{f'[{finding.container}]' if finding.container else ''}" for finding in findings]
    shown = list(dict.fromkeys(names))
    more = f",… {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
    return ",".join(shown[:_MOST_NAMED]) + more
