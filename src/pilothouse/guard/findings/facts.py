"""What selectors may ask of a finding, read from its row: no document is made of those that are not selected. Pure.

A test holds these equal to the labels and selectable fields of the documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from pilothouse.guard.findings.model import Row
from pilothouse.machinery.selectors import FieldSelector, Selector

_Read = Callable[[Row], str]
LABELS: Final[Mapping[str, _Read]] = {
    "pilothouse.io/rule": lambda row: row.check.id,
    "pilothouse.io/severity": lambda row: str(row.check.severity),
    "pilothouse.io/category": lambda row: row.check.category,
    "pilothouse.io/source": lambda row: row.source,
    "pilothouse.io/state": lambda row: row.state,
    "pilothouse.io/owner": lambda row: row.owner,
}
"""Texts; one that is empty is no label, the others are labels by `label_value`."""
FIELDS: Final[Mapping[str, _Read]] = {
    "metadata.name": lambda row: row.name,
    "metadata.namespace": lambda row: row.namespace,
    "spec.rule": lambda row: row.check.id,
    "spec.severity": lambda row: str(row.check.severity),
    "spec.category": lambda row: row.check.category,
    "spec.source": lambda row: row.source,
    "spec.container": lambda row: row.container,
    "spec.subject.kind": lambda row: row.ref.kind,
    "spec.subject.name": lambda row: row.ref.name,
    "spec.subject.namespace": lambda row: row.ref.namespace,
    "status.state": lambda row: row.state,
    "status.owner": lambda row: row.owner,
    "status.newBecause": lambda row: row.because,
}
_REMEMBERED: Final = 10_000


def labels_of(row: Row) -> dict[str, str]:
    """The labels of a finding's document."""
    return {key: label_value(text) for key, read in LABELS.items() if (text := read(row))}


@lru_cache(4096)
def label_value(text: str) -> str:
    """The text as a label's value: other characters become `-`, and 63 of them are kept."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")


class Choice:
    """Whether a row is selected: its values are judged once for all rows that have the same."""

    def __init__(self, labels: Selector | None, fields: FieldSelector | None) -> None:
        self._labels = labels
        self._fields = fields
        self._label_keys = [r.key for r in labels.requirements if r.key in LABELS] if labels else []
        self._field_keys = [r.field for r in fields.requirements if r.field in FIELDS] if fields else []
        self._reads = [*(LABELS[key] for key in self._label_keys), *(FIELDS[key] for key in self._field_keys)]
        self._known: dict[tuple[str, ...], bool] = {}

    def __call__(self, row: Row) -> bool:
        values = tuple([read(row) for read in self._reads])
        found = self._known.get(values)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[values] = self._judge(values)
        return found

    def _judge(self, values: tuple[str, ...]) -> bool:
        texts = dict(zip(self._label_keys, values))
        labels = {key: label_value(text) for key, text in texts.items() if text}
        if self._labels is not None and not self._labels.matches(labels):
            return False
        fields = dict(zip(self._field_keys, values[len(self._label_keys) :]))
        return self._fields is None or self._fields.matches(fields)
