"""Which tools have said something in which report object, so that what a report drops is resolved. Pure.

Findings are kept by source and subject; a report object is one subject, and may speak for several sources, each time
for others. After any sequence of changes what is kept is what the reports there are say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pilothouse.guard.findings.model import Found, Report, Row
from pilothouse.machinery.objects import Resource

_PREFIX: Final = "policy-report/"


def subject_of(resource: Resource, namespace: str, name: str) -> str:
    """The key under which a report object's findings are kept; whatever the version it is read in."""
    return f"{_PREFIX}{resource.group}/{resource.kind}/{namespace}/{name}"


def is_reported(row: Row) -> bool:
    """Whether a finding comes from a report object."""
    return row.subject.startswith(_PREFIX)


class Known:
    """See the module."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        """`rows` are the findings kept from before; those of other subjects do not matter."""
        self._sources: dict[str, set[str]] = {}
        for row in rows:
            if is_reported(row):
                self._sources.setdefault(row.subject, set()).add(row.source)

    @property
    def subjects(self) -> set[str]:
        """The report objects that have said something."""
        return set(self._sources)

    def of_kind(self, resource: Resource) -> list[str]:
        """Those of a kind."""
        start = subject_of(resource, "", "").rstrip("/") + "/"
        return [subject for subject in self._sources if subject.startswith(start)]

    def put(self, subject: str, found: Mapping[str, tuple[Found, ...]]) -> list[Report]:
        """What to report when a report object says this, by source."""
        before = self._sources.pop(subject, set())
        if found:
            self._sources[subject] = set(found)
        return [Report(source, subject, found.get(source, ())) for source in sorted(before | found.keys())]

    def remove(self, subject: str) -> list[Report]:
        """What to report when a report object is gone."""
        return [Report(source, subject, ()) for source in sorted(self._sources.pop(subject, ()))]
