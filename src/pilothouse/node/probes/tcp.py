"""TCP probes: a connection that opens is a success."""

from __future__ import annotations

import asyncio

from pilothouse.kinds.families import join_host_port
from pilothouse.node.probes.target import Outcome


async def connect(host: str, port: int, timeout: float) -> Outcome:
    """One connection, closed at once."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {join_host_port(host, port)}: i/o timeout", timed_out=True)
    except OSError as error:
        return Outcome(False, f"dial tcp {join_host_port(host, port)}: {error.strerror or error}")
    writer.transport.abort()
    return Outcome(True)
