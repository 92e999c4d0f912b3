"""The contract of a store: current values by key, a revisioned log of changes, and watches on it.

Keys are `group/plural/[namespace/]name`; the first two segments are the *collection*. Values are JSON documents that
begin `{"kind":…,"apiVersion":…,"metadata":{` and hold no resourceVersion; what is read has the revision of its last
write spliced in as `metadata.resourceVersion`, so that stored bytes are sent to clients as they are.

Reads are answered from memory and never wait. Writes return once they are durable; by then every watcher has been told,
and nothing is seen by anyone before it is durable. A driver for a replicated engine keeps the same memory (`State`) by
watching that engine, and writes by its transactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.selectors import FieldSelector, Selector

_ANCHOR = b'"metadata":{'


class KeyExists(Exception):
    """A create of a key that has a value."""


class RevisionMismatch(Exception):
    """An update or delete of a key that is absent or was written since the expected revision."""


class Compacted(Exception):
    """The revision asked for is older than what is kept."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest


class StoreClosed(ApiError):
    """The server is stopping; the write did not happen."""

    code, reason = 503, "ServiceUnavailable"


class Record(NamedTuple):
    """A current value: `value` carries `revision` as its resourceVersion."""

    key: str
    revision: int
    value: bytes


class Event:
    """One change. `value` is the object after it (for a deletion, the last state under the revision of the deletion),
    `previous` the object before it, None when it was created."""

    __slots__ = ("deleted", "key", "memo", "previous", "revision", "value")

    def __init__(self, revision: int, key: str, value: bytes, previous: Record | None, deleted: bool) -> None:
        self.revision = revision
        self.key = key
        self.value = value
        self.previous = previous
        self.deleted = deleted
        self.memo: Any = None
        """Whatever readers derive from the event once, to be shared by all watchers of it."""


class Watcher(Protocol):
    """A subscription. Events are in the order of their revisions, none is left out."""

    async def next(self, timeout: float | None = None) -> Sequence[Event]:
        """All events since the last call, waiting for one; empty when `timeout` seconds passed without.
        Raises `WatchEnded` when the subscription was closed or its reader was too slow."""

    def close(self) -> None: ...


class WatchEnded(Exception):
    """No more events will come: closed, or cut because more were pending than are kept for a slow reader."""


@runtime_checkable
class Narrowable(Protocol):
    """A list that knows what selectors ask of its records without reading their values."""

    async def narrowed(self, labels: Selector | None, fields: FieldSelector | None, most: int = 0) -> Sequence[Record]:
        """The first `most` (0: all) records that are selected, in order; other work gets its turn meanwhile."""


class Store(Protocol):
    """See the module. Drivers: `memory`, `sqlite`."""

    @property
    def revision(self) -> int:
        """The revision of the latest change readers can see."""

    @property
    def compacted(self) -> int:
        """Changes after this revision are still known."""

    @property
    def problem(self) -> str:
        """Why the last write could not be made durable, "" when it was."""

    def get(self, key: str) -> Record | None: ...

    def list(self, prefix: str) -> Sequence[Record]:
        """All records whose key begins with `prefix` (at least `group/plural/`), by key, as of `revision`."""

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        """As `list`, as of an earlier revision. Raises `Compacted`."""

    def changed(self, collection: str) -> int:
        """The revision of the latest change in a collection (`group/plural/`), 0 if there was none."""

    def count(self, collection: str) -> int:
        """How many records a collection holds."""

    def watch(self, prefix: str, after: int) -> Watcher:
        """Subscribes to changes with a revision greater than `after`. Raises `Compacted`."""

    async def create(self, key: str, value: bytes) -> Record:
        """Raises `KeyExists`; `ServiceUnavailable` when it cannot be made durable (as do update and delete)."""

    async def update(self, key: str, value: bytes, expected: int) -> Record:
        """Raises `RevisionMismatch`."""

    async def delete(self, key: str, expected: int) -> Record:
        """The last value under the revision of the deletion. Raises `RevisionMismatch`."""

    async def close(self) -> None:
        """Finishes what was accepted and ends all watches."""


def splice(value: bytes, revision: int) -> bytes:
    """The document with `revision` as its `metadata.resourceVersion`."""
    at = value.index(_ANCHOR) + len(_ANCHOR)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def unsplice(spliced: bytes, revision: int) -> bytes:
    """A document that carries `revision` as its resourceVersion, without it: as it is stored."""
    return spliced.replace(b'"resourceVersion":"%d",' % revision, b"", 1)


def resplice(spliced: bytes, old: int, revision: int) -> bytes:
    """A document that carries `old` as its resourceVersion, with `revision` instead."""
    return spliced.replace(b'"resourceVersion":"%d"' % old, b'"resourceVersion":"%d"' % revision, 1)


def collection_of(key: str) -> str:
    """The collection of a key or prefix: its first two segments with their slashes."""
    end = key.index("/", key.index("/") + 1) + 1
    return key[:end]
