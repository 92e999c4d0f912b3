"""Whether a version is affected by a rule, and what fixes it.

Source: OSV schema, "Evaluation": events in the order of versions; `fixed` is exclusive, `last_affected` inclusive; in
union with the versions that are listed one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.guard.images.data.records import FIXED, INTRODUCED, LAST_AFFECTED, LIMIT, Event, Rule
from pilothouse.guard.images.match.versions import Key, version_key


@dataclass(frozen=True, slots=True)
class Verdict:
    """Affected or not; `fixed` is the lowest later version that is not affected itself, "" when there is none."""

    affected: bool
    fixed: str = ""


def evaluate(rule: Rule, order: str, version: str) -> Verdict:
    """Raises ValueError when the version, or one of the rule that decides, cannot be read."""
    listed = version in rule.versions
    if not rule.ranges:
        return Verdict(listed or any(_same(order, version, other) for other in rule.versions))
    try:
        key = version_key(order, version)
    except ValueError:
        if listed:
            return Verdict(True)
        raise
    fixes: list[tuple[Key, str]] = []
    affected = listed
    for events in rule.ranges:
        if _in_range(events, order, key):
            affected = True
        fixes += [(version_key(order, event.version), event.version) for event in events if event.kind == FIXED]
    if not affected:
        return Verdict(False)
    for fix, text in sorted((entry for entry in fixes if entry[0] > key), key=lambda entry: entry[0]):
        if text not in rule.versions and not any(_in_range(events, order, fix) for events in rule.ranges):
            return Verdict(True, text)
    return Verdict(True)


def _same(order: str, version: str, other: str) -> bool:
    """The same version written otherwise, such as 1.0 and 1.0.0; not where one of them cannot be read."""
    try:
        return bool(version_key(order, version) == version_key(order, other))
    except ValueError:
        return False


def _in_range(events: Sequence[Event], order: str, key: Key) -> bool:
    """Walks the events in the order of their versions; 0 introduces before everything."""
    found = False
    for event in sorted(events, key=lambda event: _place(order, event)):
        if event.kind == INTRODUCED:
            if event.version == "0" or version_key(order, event.version) <= key:
                found = True
        elif event.kind == FIXED:
            if version_key(order, event.version) <= key:
                found = False
        elif event.kind == LAST_AFFECTED:
            if version_key(order, event.version) < key:
                found = False
        elif event.kind == LIMIT and event.version != "*" and version_key(order, event.version) <= key:
            found = False
    return found


def _place(order: str, event: Event) -> tuple[int, Key]:
    """Where an event stands: 0 before, and * after everything."""
    if event.version in ("0", "*"):
        return (0 if event.version == "0" else 2), 0
    return 1, version_key(order, event.version)
