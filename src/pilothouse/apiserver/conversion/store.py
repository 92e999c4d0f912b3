"""The store as a version of a custom kind sees it that a webhook converts to.

Reads never wait, webhooks have to be waited for. So a read that meets objects not yet converted raises `NotConverted`;
the server has them converted and asks the verb again, which has written nothing until then. Writes and watches wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.apiserver import codec
from pilothouse.apiserver.conversion.converter import Converter, Place, version_of
from pilothouse.apiserver.versions import StoredVersion
from pilothouse.kinds.apiextensions.custom_kind import CustomKind
from pilothouse.machinery.errors import ApiError
from pilothouse.store.store import Event, Record, Store, WatchEnded, Watcher, splice


class NotConverted(Exception):
    """A read met these records, which are stored in another version."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(f"{len(records)} objects are to be converted")
        self.records = records


class WebhookStore:
    """A `Store` for one request."""

    def __init__(self, store: Store, kind: CustomKind, converter: Converter) -> None:
        self._store = store
        self._kind = kind
        self._converter = converter
        self._own = StoredVersion(kind)
        self._wanted = kind.resource.api_version
        self._stored = f"{kind.resource.group}/{kind.storage_version}"
        self._here: dict[Place, bytes] = {}
        """What this request has had converted, however much that is."""

    @property
    def revision(self) -> int:
        return self._store.revision

    @property
    def compacted(self) -> int:
        return self._store.compacted

    @property
    def problem(self) -> str:
        return self._store.problem

    def get(self, key: str) -> Record | None:
        record = self._store.get(key)
        return None if record is None else self._shown([record])[0]

    def list(self, prefix: str) -> Sequence[Record]:
        return self._shown(self._store.list(prefix))

    def list_at(self, prefix: str, revision: int) -> Sequence[Record]:
        return self._shown(self._store.list_at(prefix, revision))

    def changed(self, collection: str) -> int:
        return self._store.changed(collection)

    def count(self, collection: str) -> int:
        return self._store.count(collection)

    def watch(self, prefix: str, after: int) -> Watcher:
        return _Watcher(self, self._store.watch(prefix, after))

    async def create(self, key: str, value: bytes) -> Record:
        return await self.converted(await self._store.create(key, await self._inward(value)))

    async def update(self, key: str, value: bytes, expected: int) -> Record:
        return await self.converted(await self._store.update(key, await self._inward(value), expected))

    async def delete(self, key: str, expected: int) -> Record:
        return await self.converted(await self._store.delete(key, expected))

    async def close(self) -> None:
        """Does nothing: the store is not this view's to close."""

    def _place(self, record: Record) -> Place:
        return (record.key, self._wanted, record.revision, self._kind.defined_at)

    def _find(self, record: Record) -> Record | None:
        """The record in the version wanted, None when it has to be converted first."""
        if version_of(record.value) == self._wanted:
            return self._own.record(record)
        place = self._place(record)
        value = self._here.get(place) or self._converter.known(place)
        return None if value is None else Record(record.key, record.revision, value)

    def _shown(self, records: Sequence[Record]) -> Sequence[Record]:
        found = [(record, self._find(record)) for record in records]
        missing = [record for record, shown in found if shown is None]
        if missing:
            raise NotConverted(missing)
        return [shown for _, shown in found if shown is not None]

    async def convert(self, records: Sequence[Record]) -> None:
        """Has records converted, so that reads find them. Raises InternalError."""
        asked = [codec.decode(record.value) for record in records]
        for record, tree in zip(records, await self._converter.convert(self._kind, self._wanted, asked)):
            self._kind.settle(tree)
            value = splice(codec.encode(tree), record.revision)
            self._here[self._place(record)] = value
            self._converter.remember(self._place(record), value)

    async def converted(self, record: Record) -> Record:
        """One record in the version wanted."""
        if self._find(record) is None:
            await self.convert([record])
        return self._shown([record])[0]

    async def _inward(self, value: bytes) -> bytes:
        if self._wanted == self._stored:
            return value
        (tree,) = await self._converter.convert(self._kind, self._stored, [codec.decode(value)])
        return codec.encode(tree)

    async def event(self, event: Event) -> Event:
        after = await self.converted(Record(event.key, event.revision, event.value))
        before = None if event.previous is None else await self.converted(event.previous)
        if after.value is event.value and before is event.previous:
            return event
        return Event(event.revision, event.key, after.value, before, event.deleted)


class _Watcher:
    def __init__(self, store: WebhookStore, watcher: Watcher) -> None:
        self._store = store
        self._watcher = watcher

    async def next(self, timeout: float | None = None) -> Sequence[Event]:
        try:
            return [await self._store.event(event) for event in await self._watcher.next(timeout)]
        except ApiError as error:
            # The client comes again, and is told by its list why it cannot be served.
            raise WatchEnded from error

    def close(self) -> None:
        self._watcher.close()
