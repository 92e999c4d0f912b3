"""GET /containerLogs: a container's log, as it is or as it grows."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from aiohttp import web

from pilothouse.machinery.errors import NotFound
from pilothouse.node.api.lookup import PodLookup, find_pod, log_of
from pilothouse.node.cri import RuntimeAway, RuntimeFailure
from pilothouse.node.state import ContainerState
from pilothouse.node.streams.log_file import follow_log, read_log
from pilothouse.node.streams.log_line import options_of
from pilothouse.node.streams.tasks import Tasks

_RETRY_SECONDS = 1.0


async def container_logs(request: web.Request, pods: PodLookup, tasks: Tasks) -> web.StreamResponse:
    """Raises NotFound, BadRequest, Invalid."""
    options = options_of(request.query, time.time())
    names = request.match_info
    state = find_pod(pods, names["namespace"], names["pod"])
    container = log_of(state, names["container"], previous=options.previous)
    if not os.access(container.log_path, os.R_OK):
        raise NotFound(f'the log of container "{container.name}" in pod "{state.name}" is not on this node any more')
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    ended: asyncio.Task[None] | None = None
    if options.follow and container.running:
        ended = asyncio.create_task(until_ended(container, tasks), name="wait for container")
        pieces = follow_log(Path(container.log_path), options, ended)
    else:
        pieces = read_log(Path(container.log_path), options)
    try:
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        # The client has gone: there is nobody to tell.
        return response
    finally:
        if ended is not None:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
        await pieces.aclose()
    return response


async def until_ended(container: ContainerState, tasks: Tasks) -> None:
    """Returns when the container's process has ended, told by the runtime, however often that restarts meanwhile."""
    while not container.exited:
        try:
            await tasks.wait(container.id)
        except RuntimeAway:
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        except RuntimeFailure:
            # The runtime has forgotten it: it ended before it was asked about.
            return
        return
