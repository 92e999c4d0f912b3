"""list: a collection at one revision, whole or in pages; large ones are sent in pieces."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from operator import attrgetter

from pilothouse.apiserver import codec, pages, refusals
from pilothouse.apiserver.accept import object_form
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.forms import Renderer
from pilothouse.apiserver.selection import SLICE, Selection
from pilothouse.client.wire import Response
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Compacted, Record, Store

PIECE = 256 * 1024
"""Bytes written at a time: longer writes hold up the event loop."""

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result."
    " You must start a new list without the continue parameter."
)


async def list_(backend: Backend, call: Call) -> Response:
    store = backend.store
    for option in ("sendInitialEvents",):
        if option in call.params:
            raise pages.invalid_option(option, f"Forbidden: {option} is forbidden for list")
    selection = Selection(call.kind, call.params.get("labelSelector", ""), call.params.get("fieldSelector", ""))
    form = object_form(call.request.headers.get("accept", ""))
    renderer = Renderer(call.kind, form, call.params.get("includeObject", ""))
    start = pages.position(call.params, store.revision)
    revision = store.revision if start.revision is None else start.revision
    records = candidates(store, call, selection, start)
    limit = pages.limit(call.params)
    pages.number(call.params, "timeoutSeconds")  # nothing here takes so long, but a mistake is told
    page, remaining = await _page(records, selection, limit)
    meta: Obj = {"resourceVersion": str(revision)}
    if remaining is not None:
        meta["continue"] = pages.encode_continue(revision, page[-1].key)
        if selection.everything:
            meta["remainingItemCount"] = remaining
    return await _respond(renderer, meta, page)


def candidates(store: Store, call: Call, selection: Selection, start: pages.Position) -> Sequence[Record]:
    """The records that may be selected, from the position on. Raises Expired."""
    name, namespace = selection.exact("metadata.name"), call.namespace
    if not namespace and call.resource.namespaced:
        namespace = selection.exact("metadata.namespace") or ""
    if name is not None and start.revision is None and (namespace or not call.resource.namespaced):
        record = store.get(codec.key(call.resource, namespace, name))
        return [record] if record is not None else []
    prefix = codec.prefix(call.resource, namespace)
    if start.revision is None:
        return store.list(prefix)
    try:
        records = store.list_at(prefix, start.revision)
    except Compacted as error:
        raise refusals.expired(_TOO_OLD if start.after else str(error)) from error
    return records[bisect_right(records, start.after, key=attrgetter("key")) :] if start.after else records


async def _page(records: Sequence[Record], selection: Selection, limit: int) -> tuple[Sequence[Record], int | None]:
    """The selected records up to the limit, and how many follow (None: this is the last page)."""
    if selection.everything:
        if not limit or len(records) <= limit:
            return records, None
        return records[:limit], len(records) - limit
    found = await selection.chosen(records, limit + 1 if limit else 0)
    return (found[:limit], 1) if limit and len(found) > limit else (found, None)


async def _respond(renderer: Renderer, meta: Obj, page: Sequence[Record]) -> Response:
    head = renderer.list_head(meta)
    if len(page) <= SLICE:
        page = list(page)  # made once, where records are made as they are read
    if renderer.whole:
        if len(page) <= SLICE and sum(len(record.value) + 1 for record in page) <= PIECE:
            body = head + b",".join([record.value for record in page]) + b"]}"
            return Response(200, dict(JSON_HEADERS), body)
    elif len(page) <= SLICE:
        body = head + b",".join([renderer.item(record.value) for record in page]) + b"]}"
        return Response(200, dict(JSON_HEADERS), body)
    return Response(200, dict(JSON_HEADERS), stream=_pieces(renderer, head, page))


async def _pieces(renderer: Renderer, head: bytes, page: Sequence[Record]) -> AsyncIterator[bytes]:
    """The list in pieces, so that neither encoding nor writing holds up the loop."""
    parts, size, separator = [head], len(head), b""
    for index, record in enumerate(page):
        item = renderer.item(record.value)
        parts += (separator, item)
        separator = b","
        size += len(item) + 1
        if size >= PIECE:
            yield b"".join(parts)
            parts, size = [], 0
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    parts.append(b"]}")
    yield b"".join(parts)
