"""watch: the changes of a collection from a revision on, as newline-separated JSON.

Each event's bytes are encoded once and shared by every plain watcher of the kind. A watcher whose client reads too
slowly is cut by the store; its client goes on from the last version it saw, or lists afresh.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import orjson

from pilothouse.apiserver import codec, pages, refusals
from pilothouse.apiserver.accept import object_form
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.forms import Renderer
from pilothouse.apiserver.selection import SLICE, Selection, facts_of
from pilothouse.apiserver.verbs.list import PIECE, candidates
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Compacted, Event, Record, WatchEnded, Watcher

BOOKMARK_SECONDS = 60.0
_DEFAULT_SECONDS = 1800.0
_BATCH = 64
"""Events written at a time, so that a busy watch does not hold up the loop."""


@dataclass(slots=True)
class _Plan:
    """What was asked for: the state first (`initial`), then changes after `after`, for `seconds`."""

    initial: Sequence[Record] | None
    mark_initial_end: bool
    after: int
    bookmarks: bool
    seconds: float


async def watch(backend: Backend, call: Call) -> Response:
    selection = Selection(call.kind, call.params.get("labelSelector", ""), call.params.get("fieldSelector", ""))
    form = object_form(call.request.headers.get("accept", ""))
    renderer = Renderer(call.kind, form, call.params.get("includeObject", ""))
    plan = _plan(backend, call, selection)
    namespace = call.namespace
    if not namespace and call.resource.namespaced:
        namespace = selection.exact("metadata.namespace") or ""
    try:
        watcher = backend.store.watch(codec.prefix(call.resource, namespace), plan.after)
    except Compacted as error:
        # As upstream: an event in a stream that was accepted, which is where clients look for it.
        return Response(200, dict(JSON_HEADERS), stream=_only(_error(refusals.expired(str(error)))))
    stream = _Stream(backend, call, selection, renderer, plan, watcher)
    return Response(200, dict(JSON_HEADERS), stream=stream.frames())


def _plan(backend: Backend, call: Call, selection: Selection) -> _Plan:
    params, current = call.params, backend.store.revision
    asked = refusals.resource_version(params.get("resourceVersion", ""))
    send = params.get("sendInitialEvents")
    initial = call.flag("sendInitialEvents") if send is not None else asked == 0
    if send is not None and params.get("resourceVersionMatch") != "NotOlderThan":
        raise pages.invalid_option(
            "resourceVersionMatch",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )
    if send is None and "resourceVersionMatch" in params:
        raise pages.invalid_option(
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )
    if asked > current:
        raise refusals.version_too_large(asked, current)
    records = candidates(backend.store, call, selection, pages.Position(None)) if initial else None
    return _Plan(
        initial=records,
        mark_initial_end=send is not None and initial,
        after=current if initial or asked == 0 else asked,
        bookmarks=call.flag("allowWatchBookmarks"),
        # Spread, so that watches begun together do not all begin again together.
        seconds=float(pages.number(params, "timeoutSeconds")) or _DEFAULT_SECONDS * random.uniform(1.0, 2.0),
    )


class _Stream:
    def __init__(
        self, backend: Backend, call: Call, selection: Selection, renderer: Renderer, plan: _Plan, watcher: Watcher
    ) -> None:
        self._store = backend.store
        self._kind = call.kind
        self._selection = selection
        self._renderer = renderer
        self._plan = plan
        self._watcher = watcher
        self._columns = True

    async def frames(self) -> AsyncIterator[bytes]:
        """Chunks of whole lines."""
        try:
            async for chunk in self._initial():
                yield chunk
            async for chunk in self._changes():
                yield chunk
        except WatchEnded:
            return
        finally:
            self._watcher.close()

    async def _initial(self) -> AsyncIterator[bytes]:
        plan = self._plan
        records = plan.initial or ()
        if not self._selection.everything:
            records = await self._selection.chosen(records)
        parts: list[bytes] = []
        size = 0
        for index, record in enumerate(records):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            parts.append(self._frame("ADDED", record.value))
            size += len(record.value)
            if size > PIECE:
                yield b"".join(parts)
                parts, size = [], 0
        plan.initial = None
        if plan.mark_initial_end and plan.bookmarks:
            parts.append(self._bookmark(plan.after, initial_end=True))
        if parts:
            yield b"".join(parts)

    async def _changes(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._plan.seconds
        bookmark = loop.time() + BOOKMARK_SECONDS * random.uniform(0.8, 1.0)
        while (now := loop.time()) < end:
            until = min(end, bookmark) if self._plan.bookmarks else end
            events = await self._watcher.next(max(until - now, 0.001))
            # Read before anything is written: while it is written, the store moves on.
            seen = events[-1].revision if events else self._store.revision
            for start in range(0, len(events), _BATCH):
                if start:
                    await asyncio.sleep(0)
                if lines := self._lines(events[start : start + _BATCH]):
                    yield lines
            if self._plan.bookmarks and loop.time() >= bookmark:
                yield self._bookmark(seen)
                bookmark = loop.time() + BOOKMARK_SECONDS

    def _lines(self, events: Sequence[Event]) -> bytes:
        if not self._renderer.whole:
            found = ((self._selection.change(event), event) for event in events)
            return b"".join([self._frame(change, _shown(change, event)) for change, event in found if change])
        lines = []
        for event in events:
            change = self._selection.change(event)
            if change:
                frames = facts_of(event, self._kind).frames
                frame = frames.get(change)
                if frame is None:
                    frame = frames[change] = self._frame(change, _shown(change, event))
                lines.append(frame)
        return b"".join(lines)

    def _frame(self, change: str, value: bytes) -> bytes:
        if not self._renderer.whole:
            value = self._renderer.single(value, columns=self._columns)
            self._columns = False
        return b'{"type":"%b","object":%b}\n' % (change.encode(), value)

    def _bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        meta: Obj = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        resource = self._kind.resource
        value = orjson.dumps({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta})
        return self._frame("BOOKMARK", value)


def _error(error: ApiError) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n"


async def _only(line: bytes) -> AsyncIterator[bytes]:
    yield line


def _shown(change: str, event: Event) -> bytes:
    """The object of an event: one that stopped matching a selector is shown as it was, under the new version."""
    if change == "DELETED" and not event.deleted and event.previous is not None:
        previous = event.previous
        return previous.value.replace(
            b'"resourceVersion":"%d"' % previous.revision, b'"resourceVersion":"%d"' % event.revision, 1
        )
    return event.value
