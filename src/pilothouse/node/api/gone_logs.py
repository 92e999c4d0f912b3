"""GET /goneLogs: logs of pods that are gone, found by name, then read."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import asdict
from pathlib import Path

import orjson
from aiohttp import web

from pilothouse.machinery.errors import BadRequest, NotFound
from pilothouse.node.api.lookup import PodLookup
from pilothouse.node.streams import gone
from pilothouse.node.streams.log_line import options_of

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


async def list_gone(request: web.Request, pods: PodLookup, root: Path) -> web.StreamResponse:
    """The logs of pods of that name, or with `prefix=true` whose names begin with it. Raises BadRequest."""
    namespace, name = _names(request, "namespace", "pod")
    known = {state.uid for state in pods}
    prefix = request.query.get("prefix", "") == "true"
    found = await asyncio.to_thread(gone.find, root, namespace, name, known, prefix=prefix)
    return web.Response(body=orjson.dumps([asdict(log) for log in found]), content_type="application/json")


async def read_gone(request: web.Request, root: Path) -> web.StreamResponse:
    """The log itself. Raises BadRequest, NotFound, Invalid."""
    namespace, pod, uid, container = _names(request, "namespace", "pod", "uid", "container")
    options = options_of(request.query, time.time())
    directory = root / f"{namespace}_{pod}_{uid}" / container
    if not await asyncio.to_thread(directory.is_dir):
        raise NotFound(f'the log of container "{container}" in pod "{pod}" is not on this node any more')
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    pieces = gone.read(directory, options)
    try:
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        return response
    finally:
        await pieces.aclose()
    return response


def _names(request: web.Request, *fields: str) -> list[str]:
    """Parts of the path that become parts of a file's path."""
    names = [request.match_info[field] for field in fields]
    for name in names:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"{name!r} is not a name")
    return names
