"""Recent changes of findings, and who is told of them. Rows are kept, and documents made for those who watch.

Not thread-safe: used from the event loop's thread only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from pilothouse.guard.findings.model import Row
from pilothouse.guard.findings.render import record_of
from pilothouse.store.store import Compacted, Event, WatchEnded

WINDOW: Final = 5_000
PENDING: Final = 10_000
_BATCH: Final = 200
"""Events made in one go: what a slow reader catches up with does not hold the loop."""
_KEPT: Final = 64
"""Events kept for other watchers; a slower one makes its own."""


class Change:
    """A row before (None: it is new) and after; of a row that is gone, `new` carries the revision of its end."""

    __slots__ = ("deleted", "made", "new", "old")

    def __init__(self, old: Row | None, new: Row, deleted: bool = False) -> None:
        self.old = old
        self.new = new
        self.deleted = deleted
        self.made: Event | None = None

    @property
    def revision(self) -> int:
        return self.new.revision

    def event(self) -> Event:
        """The change as a watcher is told of it, made once for all who read it soon."""
        if self.made is None:
            previous = record_of(self.old) if self.old is not None else None
            self.made = Event(self.revision, self.new.key, record_of(self.new).value, previous, self.deleted)
        return self.made


class Changes:
    """A window of changes, and the watches."""

    def __init__(self) -> None:
        self.revision = 0
        self.compacted = 0
        self._window: deque[Change] = deque()
        self._watches: set[Watch] = set()

    def start(self, revision: int) -> None:
        """Begins at a revision; nothing before it is known."""
        self.revision = self.compacted = revision

    def tell(self, change: Change) -> None:
        """Makes a change known."""
        self.revision = change.revision
        self._window.append(change)
        if len(self._window) > _KEPT:
            self._window[-_KEPT - 1].made = None
        if len(self._window) > WINDOW:
            self.compacted = self._window.popleft().revision
        for watch in list(self._watches):
            if change.new.key.startswith(watch.prefix):
                watch.feed(change)

    def since(self, revision: int) -> Iterator[Change]:
        """The changes after a revision, newest first. Raises Compacted."""
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        for change in reversed(self._window):
            if change.revision <= revision:
                return
            yield change

    def watch(self, prefix: str, after: int) -> Watch:
        """Raises Compacted."""
        backlog = [change for change in self.since(after) if change.new.key.startswith(prefix)]
        watch = Watch(self, prefix, backlog[::-1])
        self._watches.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        self._watches.discard(watch)

    def close(self) -> None:
        """Ends every watch."""
        for watch in list(self._watches):
            watch.close()


class Watch:
    """A `Watcher` of findings."""

    def __init__(self, changes: Changes, prefix: str, backlog: Sequence[Change]) -> None:
        self.prefix = prefix
        self._changes = changes
        self._pending = deque(backlog)
        self._ended = False
        self._more = asyncio.Event()

    def feed(self, change: Change) -> None:
        """Adds a change, or ends the watch when its reader has fallen too far behind."""
        self._pending.append(change)
        if len(self._pending) > PENDING:
            self.close()
        self._more.set()

    async def next(self, timeout: float | None = None) -> Sequence[Event]:
        """Events since the last call, some at a time; see `Watcher`."""
        if not self._pending and not self._ended:
            self._more.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._more.wait()
            except TimeoutError:
                return []
        else:
            await asyncio.sleep(0)
        if self._ended:
            raise WatchEnded
        return [self._pending.popleft().event() for _ in range(min(_BATCH, len(self._pending)))]

    def close(self) -> None:
        self._ended = True
        self._pending.clear()
        self._changes.forget(self)
        self._more.set()
