"""Informers: a local copy of a collection, kept fresh by one watch, with a note to subscribers for every change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from pilothouse.client.client import Client
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError, Expired

log = logging.getLogger(__name__)

_STEADY_SECONDS = 10.0
"""A watch that was open for so long failed by itself, not for what it was told first."""
T = TypeVar("T", bound=Object)
Subscriber = Callable[[str, T | None, T | None], None]
"""Called with key, the object before (None if new) and after (None if gone)."""
Indexer = Callable[[T], Iterable[str]]


class Informer(Generic[T]):
    """A copy of the objects of one kind (in one namespace, or of one selection).

    `run` lists, watches and, whenever the watch ends, continues from the last version seen; when that version is gone
    it lists afresh and reports the difference. While the server is away the copy stays as it was. Subscribers are
    called in the event loop, must not wait, and may rely on every change being reported once, in order per object.
    """

    def __init__(
        self,
        client: Client,
        cls: type[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        indexers: dict[str, Indexer[T]] | None = None,
    ) -> None:
        self._client = client
        self._cls = cls
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._objects: dict[str, T] = {}
        self._subscribers: list[Subscriber[T]] = []
        self._indexers = indexers or {}
        self._indexes: dict[str, dict[str, set[str]]] = {name: {} for name in self._indexers}
        self._synced = asyncio.Event()
        self._failures = 0
        """Since an event was last understood."""
        self.resource_version = ""

    @property
    def view(self) -> type[T]:
        """The view objects are held in."""
        return self._cls

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def get(self, key: str) -> T | None:
        """The object of that key (`namespace/name`, or `name`), as last seen."""
        return self._objects.get(key)

    def by_index(self, index: str, value: str) -> list[T]:
        """The objects whose indexer of that name yields `value`."""
        return [self._objects[key] for key in sorted(self._indexes[index].get(value, ()))]

    def in_namespace(self, namespace: str) -> list[T]:
        return [obj for obj in self._objects.values() if obj.metadata.namespace == namespace]

    def subscribe(self, subscriber: Subscriber[T]) -> None:
        """Calls `subscriber` for every object already held, then for each change."""
        for key, obj in self._objects.items():
            subscriber(key, None, obj)
        self._subscribers.append(subscriber)

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Waits until the first list is in."""
        await self._synced.wait()

    async def run(self) -> None:
        """Keeps the copy fresh until cancelled."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                if not self.resource_version:
                    await self._list()
                await self._watch()
                self._failures = 0
            except Expired:
                self.resource_version = ""
            except ApiError as error:
                await self._failed(error.message, began)
            except (TimeoutError, OSError, ValueError) as error:
                await self._failed(error, began)

    async def _failed(self, error: object, began: float) -> None:
        """Waits, longer each time: a list may be understood and the next event not, again and again."""
        if asyncio.get_running_loop().time() - began > _STEADY_SECONDS:
            self._failures = 0
        self._failures += 1
        if self._failures in (1, 10):
            log.warning("watching %s: %s", self._cls.resource.plural, error)
        # A failing watch may hold a version this server never issued (a restored store): list again.
        if self._failures >= 3:
            self.resource_version = ""
        await asyncio.sleep(min(5.0, 0.05 * 2 ** min(self._failures, 8)) * random.uniform(0.5, 1.0))

    async def _list(self) -> None:
        page = await self._client.list(
            self._cls,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        fresh = {obj.key: obj for obj in page.items}
        for key in [key for key in self._objects if key not in fresh]:
            self._replace(key, None)
        for key, obj in fresh.items():
            old = self._objects.get(key)
            if old is None or old.metadata.resource_version != obj.metadata.resource_version:
                self._replace(key, obj)
        self.resource_version = page.resource_version
        self._synced.set()

    async def _watch(self) -> None:
        events = self._client.watch(
            self._cls,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self.resource_version,
        )
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            async for event in events:
                if event.type != "BOOKMARK":
                    self._replace(event.object.key, None if event.type == "DELETED" else event.object)
                self.resource_version = event.object.metadata.resource_version
                self._failures = 0

    def _replace(self, key: str, obj: T | None) -> None:
        old = self._objects.pop(key, None)
        if obj is not None:
            self._objects[key] = obj
        for name, indexer in self._indexers.items():
            index = self._indexes[name]
            for value in indexer(old) if old is not None else ():
                members = index.get(value)
                if members is not None:
                    members.discard(key)
                    if not members:
                        del index[value]
            for value in indexer(obj) if obj is not None else ():
                index.setdefault(value, set()).add(key)
        if old is None and obj is None:
            return
        for subscriber in self._subscribers:
            try:
                subscriber(key, old, obj)
            except Exception:
                log.exception("a subscriber of %s failed on %s", self._cls.resource.plural, key)
