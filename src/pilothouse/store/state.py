"""What every driver keeps in memory: current records, a bounded window of recent changes, and the watchers.

Not thread-safe: used from the event loop's thread only.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from pilothouse.store.store import Compacted, Event, Record, WatchEnded, collection_of

WINDOW_EVENTS = 5_000
WINDOW_BYTES = 8 << 20
PENDING_EVENTS = 10_000
PENDING_BYTES = 16 << 20
_MEMOS = 64
"""Events that keep what readers derived from them; a slower reader derives it again."""
_CLOCK_SECONDS = 0.001
"""The resolution of uvloop's clock: a timer may be so much too early."""
_WOKEN_AT_ONCE = 64
"""Readers that go on in the same turn of the event loop: a write that a thousand wait for must not hold up others."""


class Subscription:
    """A `Watcher` fed by `State`."""

    def __init__(self, state: State, prefix: str, backlog: Sequence[Event]) -> None:
        self._state = state
        self.prefix = prefix
        self._pending: list[Event] = list(backlog)
        self._bytes = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    def feed(self, event: Event) -> None:
        """Adds an event, or cuts the subscription when its reader has fallen too far behind."""
        self._pending.append(event)
        self._bytes += len(event.value)
        if len(self._pending) > PENDING_EVENTS or self._bytes > PENDING_BYTES:
            self.close()
        elif self._waiter is not None:
            self._state.wake(self)

    def wake(self) -> None:
        """Lets the reader go on, if one waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, timeout: float | None = None) -> Sequence[Event]:
        if not self._pending and not self._ended:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._deadline = loop.time() + timeout if timeout is not None else float("inf")
            if timeout is not None and (self._timer is None or self._timer.when() > self._deadline):
                self._arm(loop)
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._ended:
            raise WatchEnded
        batch, self._pending, self._bytes = self._pending, [], 0
        return batch

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """A timer for the deadline. It stays when an event comes first: most readers wait for the same one again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._deadline, self._is_late, loop)

    def _is_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if loop.time() >= self._deadline - _CLOCK_SECONDS:
            self.wake()
        elif self._deadline < float("inf"):
            self._arm(loop)

    def close(self) -> None:
        self._ended = True
        self._pending = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._state.forget(self)
        self.wake()


class _Collection:
    """The records of one collection; `keys` is sorted, so that a prefix is a slice."""

    __slots__ = ("changed", "keys", "records", "watchers")

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.keys: list[str] = []
        self.watchers: set[Subscription] = set()
        self.changed = 0


class State:
    """Records, window and watchers; see the module."""

    def __init__(self, *, window_events: int = WINDOW_EVENTS, window_bytes: int = WINDOW_BYTES) -> None:
        self.revision = 0
        self.compacted = 0
        self._collections: dict[str, _Collection] = {}
        self._window: deque[Event] = deque()
        self._window_bytes = 0
        self._limits = (window_events, window_bytes)
        self._woken = 0
        self._asleep: deque[Subscription] = deque()

    def wake(self, subscription: Subscription) -> None:
        """Lets a subscription's reader go on: now, or in one of the next turns of the loop if many do."""
        if not self._woken:
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._woken < _WOKEN_AT_ONCE:
            subscription.wake()
        else:
            self._asleep.append(subscription)
        self._woken += 1

    def _next_turn(self) -> None:
        self._woken = min(len(self._asleep), _WOKEN_AT_ONCE)
        for _ in range(self._woken):
            self._asleep.popleft().wake()
        if self._woken:
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _collection(self, key: str) -> _Collection:
        name = collection_of(key)
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = _Collection()
        return found

    def get(self, key: str) -> Record | None:
        return self._collection(key).records.get(key)

    def list(self, prefix: str) -> Sequence[Record]:
        collection = self._collection(prefix)
        records, keys = collection.records, collection.keys
        if len(prefix) == len(collection_of(prefix)):
            return [records[key] for key in keys]
        low, high = bisect_left(keys, prefix), bisect_left(keys, prefix + "\U0010ffff")
        return [records[key] for key in keys[low:high]]

    def everything(self) -> Sequence[Record]:
        """Every current record."""
        return [record for collection in self._collections.values() for record in collection.records.values()]

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        """The current list with the window's changes undone, newest first."""
        if revision >= self._collection(prefix).changed:
            return self.list(prefix)
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        records = {record.key: record for record in self.list(prefix)}
        for event in reversed(self._window):
            if event.revision <= revision:
                break
            if event.key.startswith(prefix):
                if event.previous is None:
                    records.pop(event.key, None)
                else:
                    records[event.key] = event.previous
        return [records[key] for key in sorted(records)]

    def changed(self, collection: str) -> int:
        found = self._collections.get(collection)
        return found.changed if found is not None else 0

    def count(self, collection: str) -> int:
        found = self._collections.get(collection)
        return len(found.keys) if found is not None else 0

    def watch(self, prefix: str, after: int) -> Subscription:
        if after < self.compacted:
            raise Compacted(after, self.compacted)
        backlog: list[Event] = []
        for event in reversed(self._window):
            if event.revision <= after:
                break
            if event.key.startswith(prefix):
                backlog.append(event)
        backlog.reverse()
        subscription = Subscription(self, prefix, backlog)
        self._collection(prefix).watchers.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._collection(subscription.prefix).watchers.discard(subscription)

    def load(self, record: Record) -> None:
        """Puts a record in place without an event (while a driver opens)."""
        collection = self._collection(record.key)
        if record.key not in collection.records:
            insort(collection.keys, record.key)
        collection.records[record.key] = record
        collection.changed = max(collection.changed, record.revision)

    def publish(self, events: Sequence[Event]) -> Sequence[Event]:
        """Makes durable changes visible and tells the watchers; returns the events that left the window."""
        for event in events:
            collection = self._collection(event.key)
            if event.deleted:
                if collection.records.pop(event.key, None) is not None:
                    del collection.keys[bisect_left(collection.keys, event.key)]
            else:
                if event.key not in collection.records:
                    insort(collection.keys, event.key)
                collection.records[event.key] = Record(event.key, event.revision, event.value)
            collection.changed = self.revision = event.revision
            self._window.append(event)
            self._window_bytes += len(event.value)
            if len(self._window) > _MEMOS:
                self._window[-_MEMOS - 1].memo = None
            for watcher in list(collection.watchers):
                if event.key.startswith(watcher.prefix):
                    watcher.feed(event)
        return self._trim()

    def _trim(self) -> Sequence[Event]:
        gone: list[Event] = []
        max_events, max_bytes = self._limits
        while len(self._window) > max_events or self._window_bytes > max_bytes:
            event = self._window.popleft()
            self._window_bytes -= len(event.value)
            self.compacted = event.revision
            gone.append(event)
        return gone

    def close(self) -> None:
        """Ends every watch."""
        for collection in self._collections.values():
            for watcher in list(collection.watchers):
                watcher.close()
