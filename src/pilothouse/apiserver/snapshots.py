"""`/pilothouse/snapshots`: the databases of the control process as of now, for a backup.

For `system:masters`, and for whoever is given the path as a nonResourceURL.

The database is open exclusively, so no other process could copy it; what is sealed in it stays sealed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import ServiceUnavailable

SNAPSHOTS = "/pilothouse/snapshots"
_PIECE = 256 * 1024

Snapshot = Callable[[Path], Awaitable[object]]
"""Writes a consistent copy of one database to a path that does not exist yet."""


async def answer_snapshot(path: str, snapshots: Mapping[str, Snapshot]) -> Response:
    """The list of names, or one copy as a stream. Raises NotFound, ServiceUnavailable."""
    name = path.removeprefix(SNAPSHOTS).strip("/")
    if not name:
        return Response(200, dict(JSON_HEADERS), orjson.dumps({"snapshots": sorted(snapshots)}))
    write = snapshots.get(name)
    if write is None:
        raise refusals.no_such_path()
    with tempfile.TemporaryDirectory(prefix="pilothouse-snapshot-") as folder:
        copy = Path(folder, name)
        try:
            await write(copy)
            # Gone from the folder with this block; read on through the descriptor.
            file = await asyncio.to_thread(copy.open, "rb")
        except OSError as error:
            raise ServiceUnavailable(f"no snapshot could be written in {folder}: {error.strerror}") from error
    return Response(200, {"content-type": "application/vnd.sqlite3"}, stream=_pieces(file))


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
