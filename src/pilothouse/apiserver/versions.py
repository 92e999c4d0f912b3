"""Custom resources in the version and shape asked for.

Objects are stored in one version, as their schema was when they were written. Read in another version, or under a
schema that has changed since, they are converted, pruned and given their defaults; those that are as they should be,
which is nearly all, pass as the bytes they are.
"""

from __future__ import annotations

from pilothouse.apiserver import codec
from pilothouse.kinds.apiextensions.custom_kind import CustomKind
from pilothouse.store.store import Event, Record


class StoredVersion:
    """`converted.Forms` of a custom resource."""

    def __init__(self, kind: CustomKind) -> None:
        self._kind = kind
        resource = kind.resource
        self._head = _head(resource.kind, resource.api_version)
        self._stored_head = _head(resource.kind, f"{resource.group}/{kind.storage_version}")

    def inner_key(self, key: str) -> str:
        return key

    def inward(self, value: bytes) -> bytes:
        return self._stored_head + value[len(self._head) :] if value.startswith(self._head) else value

    def record(self, record: Record) -> Record:
        if record.revision >= self._kind.settled_since and record.value.startswith(self._head):
            return record
        tree = codec.decode(record.value)
        self._kind.settle(tree)
        return Record(record.key, record.revision, codec.dump(tree))

    def event(self, event: Event) -> Event:
        """The same event when its objects are as they should be, so that watchers share what is derived from it."""
        after = self.record(Record(event.key, event.revision, event.value))
        before = None if event.previous is None else self.record(event.previous)
        if after.value is event.value and before is event.previous:
            return event
        return Event(event.revision, event.key, after.value, before, event.deleted)


def _head(kind: str, api_version: str) -> bytes:
    """How stored bytes begin; see `codec.encode`."""
    return b'{"kind":"%b","apiVersion":"%b","metadata":{' % (kind.encode(), api_version.encode())
