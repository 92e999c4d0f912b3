"""Findings as report objects: one a namespace, and one for what is in none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pilothouse.guard.finding import Finding
from pilothouse.guard.policy_reports.format import (
    ERROR,
    FAIL,
    KINDS,
    MANAGED_BY,
    OPEN_REPORTS,
    OWN_NAME,
    RESULTS,
)
from pilothouse.machinery.objects import Obj

MOST_RESULTS: Final = 500
"""In one object, which a store takes up to 1.5 MB of; the summary counts all."""
LEFT_OUT: Final = "guard.pilothouse.dev/left-out"


class Entry(NamedTuple):
    """A finding and its `result`: fail, error for what could not be checked, skip for what is accepted."""

    finding: Finding
    result: str = FAIL


def report_object(namespace: str, entries: Sequence[Entry], group: str, version: str, *, name: str = OWN_NAME) -> Obj:
    """The report object of a namespace ("": of what is in none), the worst findings first."""
    kind = next(kind for (of, kind), namespaced in KINDS.items() if of == group and namespaced == bool(namespace))
    metadata: Obj = {"name": name, "labels": {MANAGED_BY: OWN_NAME}}
    if namespace:
        metadata["namespace"] = namespace
    if len(entries) > MOST_RESULTS:
        metadata["annotations"] = {LEFT_OUT: str(len(entries) - MOST_RESULTS)}
    counts = Counter(entry.result for entry in entries)
    worst = sorted(entries, key=lambda entry: (entry.result != FAIL, -entry.finding.check.severity))[:MOST_RESULTS]
    return {
        "apiVersion": f"{group}/{version}",
        "kind": kind,
        "metadata": metadata,
        **({"source": OWN_NAME} if group == OPEN_REPORTS else {}),
        "summary": {result: counts[result] for result in RESULTS},
        "results": [_result(entry) for entry in worst],
    }


def by_namespace(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries by the namespace of what they are about."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.finding.ref.namespace, []).append(entry)
    return found


def _result(entry: Entry) -> Obj:
    finding, check = entry.finding, entry.finding.check
    ref = finding.ref
    resource = {"apiVersion": ref.api_version, "kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
    properties = {
        "title": check.title,
        "why": check.why,
        "remediation": check.remedy,
        "standards": check.standards,
        "container": finding.container,
        "field": finding.field,
        "file": f"{finding.file}:{finding.line}" if finding.line else finding.file,
    }
    said = f"container {finding.container} {finding.message}" if finding.container else finding.message
    return {
        "source": OWN_NAME,
        "policy": check.id,
        "message": said,
        "result": entry.result,
        "scored": entry.result != ERROR,
        "severity": str(check.severity),
        "category": check.category,
        **({"resources": [{key: value for key, value in resource.items() if value}]} if ref.kind else {}),
        "properties": {key: value for key, value in properties.items() if value},
    }
