"""The default store: a SQLite file, written by one thread in groups.

Writes are checked and numbered in the event loop, in order of arrival, against what is current and what is on its way;
whatever has gathered while the last group was written is the next group: one transaction, one fsync. Only then is the
group published to readers and watchers and its writers told. If a group fails, so does everything that came after it,
because it may build on it; the numbers are used again, as nobody has seen them.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pilothouse.machinery.errors import ApiError, InternalError
from pilothouse.store.database import Database, Row
from pilothouse.store.sealing import Sealer
from pilothouse.store.state import WINDOW_BYTES, WINDOW_EVENTS, State
from pilothouse.store.store import (
    Event,
    KeyExists,
    Record,
    RevisionMismatch,
    StoreClosed,
    Watcher,
    resplice,
    splice,
    unsplice,
)

log = logging.getLogger(__name__)

_GROUP = 512
_DEAD_PER_GROUP = 1_000
_GIVE_BACK_EVERY = 256


class _Write(NamedTuple):
    event: Event
    row: Row
    done: asyncio.Future[Record]


class _Group(NamedTuple):
    writes: list[_Write]
    dead: list[int]
    compacted: int


class SqliteStore:
    """See `Store`. Opens the file at once: construct it inside the running event loop. Raises `DataDirectoryError`."""

    def __init__(
        self,
        path: Path,
        *,
        sealer: Sealer | None = None,
        window_events: int = WINDOW_EVENTS,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._state = State(window_events=window_events, window_bytes=window_bytes)
        self._sealer = sealer
        self._database = Database(path, sealer)
        self._dead: deque[int] = deque()
        try:
            self._database.seal_again()
            self._load()
        except BaseException:
            self._database.close()
            raise
        self._next_revision = self._state.revision + 1
        self._ahead: dict[str, Event] = {}
        """The latest change of each key that is numbered but not yet durable."""
        self._waiting: deque[_Write] = deque()
        self._writing: _Group | None = None
        self._kicked = False
        self._closed = False
        self._problem = ""
        self._idle = asyncio.Event()
        self._idle.set()
        self._groups: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._thread.start()

    # Reading

    @property
    def revision(self) -> int:
        return self._state.revision

    @property
    def compacted(self) -> int:
        return self._state.compacted

    @property
    def problem(self) -> str:
        return self._problem

    def get(self, key: str) -> Record | None:
        return self._state.get(key)

    def list(self, prefix: str) -> Sequence[Record]:
        return self._state.list(prefix)

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        return self._state.list_at(prefix, revision)

    def changed(self, collection: str) -> int:
        return self._state.changed(collection)

    def count(self, collection: str) -> int:
        return self._state.count(collection)

    def watch(self, prefix: str, after: int) -> Watcher:
        return self._state.watch(prefix, after)

    # Writing

    async def create(self, key: str, value: bytes) -> Record:
        self._check_open()
        while self._latest(key) is not None:
            if key not in self._ahead:
                raise KeyExists(key)
            await self._settled(key)
        revision = self._next_revision
        event = Event(revision, key, splice(value, revision), None, False)
        return await self._submit(event, Row(revision, key, value, 0))

    async def update(self, key: str, value: bytes, expected: int) -> Record:
        old = await self._expect(key, expected)
        revision = self._next_revision
        return await self._submit(
            Event(revision, key, splice(value, revision), old, False), Row(revision, key, value, old.revision)
        )

    async def delete(self, key: str, expected: int) -> Record:
        old = await self._expect(key, expected)
        revision = self._next_revision
        event = Event(revision, key, resplice(old.value, old.revision, revision), old, True)
        return await self._submit(event, Row(revision, key, None, old.revision))

    async def snapshot(self, path: Path) -> int:
        """Writes what is current, as of the revision it returns, as a store of its own to `path`, which must not exist.

        It takes nothing from the writer: the values are those in memory, and a thread writes them. Raises OSError,
        `DataDirectoryError`, `ServiceUnavailable`.
        """
        revision, records = self._state.revision, self._state.everything()
        await asyncio.to_thread(write_snapshot, path, records, revision, self._sealer)
        return revision

    async def close(self) -> None:
        self._closed = True
        await self._idle.wait()
        self._state.close()
        self._groups.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._database.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the API server is stopping; try again in a moment")

    def _latest(self, key: str) -> Record | None:
        """The record of a key once everything on its way is durable."""
        ahead = self._ahead.get(key)
        if ahead is None:
            return self._state.get(key)
        return None if ahead.deleted else Record(key, ahead.revision, ahead.value)

    async def _expect(self, key: str, expected: int) -> Record:
        self._check_open()
        while True:
            old = self._latest(key)
            if old is not None and old.revision == expected:
                return old
            if key not in self._ahead:
                raise RevisionMismatch(key)
            await self._settled(key)

    async def _settled(self, key: str) -> None:
        """Waits for writes on their way: a refusal must rest on what its receiver can see, and they may yet fail."""
        for write in [*(self._writing.writes if self._writing else ()), *self._waiting]:
            if write.event.key == key:
                await asyncio.wait([write.done])

    async def _submit(self, event: Event, row: Row) -> Record:
        write = _Write(event, row, self._loop.create_future())
        self._next_revision = event.revision + 1
        self._ahead[event.key] = event
        self._waiting.append(write)
        self._idle.clear()
        if self._writing is None and not self._kicked:
            # At the end of this turn of the loop, so that writes made in the same turn share a group.
            self._kicked = True
            self._loop.call_soon(self._send_group)
        # The write goes on if its caller is cancelled; nobody is told then.
        return await asyncio.shield(write.done)

    def _send_group(self) -> None:
        self._kicked = False
        if self._writing is not None or not self._waiting:
            return
        writes = [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]
        dead = [self._dead.popleft() for _ in range(min(_DEAD_PER_GROUP, len(self._dead)))]
        self._writing = _Group(writes, dead, self._state.compacted)
        self._groups.put(self._writing)

    def _write_groups(self) -> None:
        """The writer thread."""
        count = 0
        while (group := self._groups.get()) is not None:
            failure: ApiError | None = None
            try:
                self._database.commit([write.row for write in group.writes], group.dead, group.compacted)
                count += 1
                if count % _GIVE_BACK_EVERY == 0:
                    self._database.give_back()
            except ApiError as error:
                failure = error
            except Exception as error:
                log.exception("the store's writer failed")
                failure = InternalError(f"nothing was written: {error}")
            self._loop.call_soon_threadsafe(self._written, group, failure)

    def _written(self, group: _Group, failure: ApiError | None) -> None:
        self._writing = None
        if failure is not None:
            self._fail(group, failure)
        else:
            self._problem = ""
            self._retire(self._state.publish([write.event for write in group.writes]))
            for write in group.writes:
                event = write.event
                if self._ahead.get(event.key) is event:
                    del self._ahead[event.key]
                if not write.done.cancelled():
                    write.done.set_result(Record(event.key, event.revision, event.value))
        if self._waiting:
            self._send_group()
        else:
            self._idle.set()

    def _fail(self, group: _Group, failure: ApiError) -> None:
        if failure.message != self._problem:
            log.error("%s", failure.message)
        self._problem = failure.message
        refused = [*group.writes, *self._waiting]
        self._waiting.clear()
        self._ahead.clear()
        self._dead.extendleft(reversed(group.dead))
        self._next_revision = self._state.revision + 1
        for write in refused:
            if not write.done.cancelled():
                write.done.set_exception(type(failure)(failure.message))
                write.done.exception()  # a caller that went away must not leave a "never retrieved" warning

    # Opening and compaction

    def _load(self) -> None:
        """Fills the memory from the log: rows up to the compaction become records, later ones events as well."""
        compacted = self._database.compacted()
        self._state.revision = self._state.compacted = compacted
        alive: dict[int, Record] = {}
        current: dict[str, Record] = {}
        loaded = False
        for row in self._database.rows():
            if row.revision > compacted and not loaded:
                loaded = True
                self._load_records(current)
            previous = alive.pop(row.previous, None)
            if row.value is None:
                current.pop(row.key, None)
            else:
                record = Record(row.key, row.revision, splice(row.value, row.revision))
                current[row.key] = alive[row.revision] = record
            if row.revision > compacted:
                self._load_event(row, previous)
            else:
                gone = previous.revision if previous else 0
                self._dead.extend(_superseded(row.revision, gone, row.value is None))
        if not loaded:
            self._load_records(current)

    def _load_records(self, current: dict[str, Record]) -> None:
        for key in sorted(current):
            self._state.load(current[key])

    def _load_event(self, row: Row, previous: Record | None) -> None:
        if row.value is not None:
            event = Event(row.revision, row.key, splice(row.value, row.revision), previous, False)
        elif previous is not None:
            value = resplice(previous.value, previous.revision, row.revision)
            event = Event(row.revision, row.key, value, previous, True)
        else:
            return
        self._retire(self._state.publish([event]))

    def _retire(self, events: Sequence[Event]) -> None:
        for event in events:
            self._dead.extend(
                _superseded(event.revision, event.previous.revision if event.previous else 0, event.deleted)
            )


def write_snapshot(path: Path, records: Sequence[Record], revision: int, sealer: Sealer | None) -> None:
    """A store's file that holds these records and no history. Raises as `SqliteStore.snapshot`."""
    if path.exists():
        raise FileExistsError(f"{path} exists")
    database = Database(path, sealer)
    try:
        ordered = sorted(records, key=lambda record: record.revision)
        for start in range(0, len(ordered), _GROUP):
            rows = [
                Row(record.revision, record.key, unsplice(record.value, record.revision), 0)
                for record in ordered[start : start + _GROUP]
            ]
            database.commit(rows, (), 0)
        database.compact_to(revision)
    finally:
        database.close()


def _superseded(revision: int, previous: int, deleted: bool) -> list[int]:
    """The rows that are dead once the change `revision` is compacted."""
    dead = [previous] if previous else []
    if deleted:
        dead.append(revision)
    return dead
