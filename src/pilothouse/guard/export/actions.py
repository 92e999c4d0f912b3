"""What a check's binding does where: a namespace's labels and the chosen defaults, as disjoint selectors. Pure.

A cluster elsewhere knows the same labels as the door (`guard/door/settings.py`). A selector is a conjunction, so what
the door decides in one go is written as cases of which exactly one holds for any labels: a label with a value that
means nothing counts as not set, which `NotIn` of the other values says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pilothouse.guard.door.settings import AUDIT, ENFORCE, MODE, SEVERITIES, SEVERITY, WARN
from pilothouse.guard.finding import Severity
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES
from pilothouse.machinery.objects import Obj

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server gives every namespace; nobody can change it."""
_OTHERS = {ENFORCE: (WARN, AUDIT), WARN: (ENFORCE, AUDIT), AUDIT: (ENFORCE, WARN)}


class Case(NamedTuple):
    """A binding to be: `name` tells it from the check's others, `expressions` select namespaces."""

    name: str
    actions: tuple[str, ...]
    expressions: tuple[Obj, ...] = ()


class Defaults(NamedTuple):
    """What holds for namespaces without labels: the mode, from which severity `enforce` refuses, from which there are
    warnings; and the namespaces that no binding means."""

    mode: str = ENFORCE
    severity: Severity = Severity.CRITICAL
    warned: Severity = Severity.HIGH
    excluded: Sequence[str] = tuple(sorted(SYSTEM_NAMESPACES))


def refuses() -> tuple[str, ...]:
    """The validationActions of a refusal; upstream takes no Warn beside Deny."""
    return "Deny", "Audit"


def warns(severity: Severity, warned: Severity) -> tuple[str, ...]:
    """Those of what is not refused; below `warned` it is only noted, as every policy says a line of its own."""
    return ("Warn", "Audit") if severity >= warned else ("Audit",)


def cases(severity: Severity, defaults: Defaults) -> list[Case]:
    """The cases of a check of namespaced kinds."""
    mode, least = defaults.mode, defaults.severity
    enforced, below = _is_mode(ENFORCE, mode), _is_below(severity, least)
    around, told = _not_excluded(defaults.excluded), warns(severity, defaults.warned)
    found = [Case("deny", refuses(), (*around, enforced, *_is_refused(severity, least)))]
    if below is not None:
        found.append(Case("below", told, (*around, enforced, below)))
    found.append(Case("warn", told, (*around, _is_mode(WARN, mode))))
    found.append(Case("audit", ("Audit",), (*around, _is_mode(AUDIT, mode))))
    return found


def cluster_case(severity: Severity, defaults: Defaults) -> Case:
    """What lives in no namespace is warned about at most: no label could allow it."""
    actions = ("Audit",) if defaults.mode == AUDIT else warns(severity, defaults.warned)
    return Case("cluster", actions, _not_excluded(defaults.excluded))


def _not_excluded(excluded: Sequence[str]) -> tuple[Obj, ...]:
    return (_expression(NAMESPACE_NAME, "NotIn", sorted(excluded)),) if excluded else ()


def _is_mode(wanted: str, default: str) -> Obj:
    if wanted == default:
        return _expression(MODE, "NotIn", _OTHERS[wanted])
    return _expression(MODE, "In", (wanted,))


def _is_refused(severity: Severity, least: Severity) -> list[Obj]:
    """Whether `enforce` refuses findings of a severity; nothing to ask where it always does."""
    refusing, sparing = _split(severity)
    if severity >= least:
        return [_expression(SEVERITY, "NotIn", sparing)] if sparing else []
    return [_expression(SEVERITY, "In", refusing)]


def _is_below(severity: Severity, least: Severity) -> Obj | None:
    """The contrary; None where it never is so."""
    refusing, sparing = _split(severity)
    if severity >= least:
        return _expression(SEVERITY, "In", sparing) if sparing else None
    return _expression(SEVERITY, "NotIn", refusing)


def _split(severity: Severity) -> tuple[list[str], list[str]]:
    """Values of the severity label with which findings of a severity are refused, and those with which not."""
    refusing = [text for text in SEVERITIES if Severity.parse(text) <= severity]
    return refusing, [text for text in SEVERITIES if text not in refusing]


def _expression(key: str, operator: str, values: Sequence[str]) -> Obj:
    return {"key": key, "operator": operator, "values": list(values)}
