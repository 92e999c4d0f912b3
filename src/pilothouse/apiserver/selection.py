"""Which objects a list or watch is about: its label and field selectors over stored bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from pilothouse.apiserver import codec
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.selector_text import parse_field_selector, parse_label_selector
from pilothouse.machinery.selectors import FieldSelector, Selector
from pilothouse.store.store import Event, Narrowable, Record

SLICE = 200
"""Objects decoded before other work gets its turn."""


class _Meta(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Meta


_LABELS = msgspec.json.Decoder(_Labelled)


def labels_of(value: bytes) -> dict[str, str]:
    """The labels in a stored object, the rest not decoded."""
    return _LABELS.decode(value).metadata.labels or {}


class Facts:
    """What selectors read from one event, before and after it: derived once, shared by all watchers of the kind."""

    __slots__ = ("_fields", "_kind", "_labels", "event", "frames")

    def __init__(self, event: Event, kind: Kind) -> None:
        self.event = event
        self.frames: dict[str, bytes] = {}
        """Encoded watch events by type."""
        self._kind = kind
        self._labels: dict[bool, dict[str, str]] = {}
        self._fields: dict[bool, dict[str, str]] = {}

    def _value(self, before: bool) -> bytes:
        previous = self.event.previous
        return previous.value if before and previous is not None else self.event.value

    def labels(self, before: bool) -> dict[str, str]:
        found = self._labels.get(before)
        if found is None:
            found = self._labels[before] = labels_of(self._value(before))
        return found

    def fields(self, before: bool) -> dict[str, str]:
        found = self._fields.get(before)
        if found is None:
            found = self._fields[before] = self._kind.selectable_fields(codec.decode(self._value(before)))
        return found


def facts_of(event: Event, kind: Kind) -> Facts:
    """The event's facts, kept with it."""
    memo: Any = event.memo
    if memo is None:
        memo = event.memo = Facts(event, kind)
    assert isinstance(memo, Facts)
    return memo


class Selection:
    """The selectors of a request. Raises BadRequest when one does not parse or asks for an unknown field."""

    def __init__(self, kind: Kind, label_selector: str, field_selector: str) -> None:
        self._kind = kind
        self._labels: Selector | None = parse_label_selector(label_selector) if label_selector.strip() else None
        self._fields: FieldSelector | None = parse_field_selector(field_selector) if field_selector else None
        if self._fields is not None:
            known = kind.selectable_fields({})
            for requirement in self._fields.requirements:
                if requirement.field not in known:
                    raise BadRequest(
                        f'field label not supported for {kind.resource.kind}: "{requirement.field}";'
                        f" supported: {', '.join(sorted(known))}"
                    )

    @property
    def everything(self) -> bool:
        return self._labels is None and self._fields is None

    def exact(self, field: str) -> str | None:
        """The value a field must have, if the field selector says so."""
        return self._fields.exact(field) if self._fields is not None else None

    async def chosen(self, records: Sequence[Record], most: int = 0) -> Sequence[Record]:
        """The first `most` (0: all) of the records that are selected; other work gets its turn meanwhile."""
        if isinstance(records, Narrowable):
            return await records.narrowed(self._labels, self._fields, most)
        found: list[Record] = []
        for index, record in enumerate(records):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if self.matches(record.value):
                found.append(record)
                if len(found) == most:
                    break
        return found

    def matches(self, value: bytes) -> bool:
        """Whether a stored object is selected."""
        if self._labels is not None and not self._labels.matches(labels_of(value)):
            return False
        return self._fields is None or self._fields.matches(self._kind.selectable_fields(codec.decode(value)))

    def change(self, event: Event) -> str:
        """What an event is to this selection: ADDED, MODIFIED, DELETED or "" (nothing)."""
        if self.everything:
            return "DELETED" if event.deleted else "ADDED" if event.previous is None else "MODIFIED"
        facts = facts_of(event, self._kind)
        was = event.previous is not None and self._selects(facts, True)
        now = not event.deleted and self._selects(facts, False)
        if now:
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else ""

    def _selects(self, facts: Facts, before: bool) -> bool:
        if self._labels is not None and not self._labels.matches(facts.labels(before)):
            return False
        return self._fields is None or self._fields.matches(facts.fields(before))
