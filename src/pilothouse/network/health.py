"""`healthCheckNodePort`: tells an outside load balancer whether this node has endpoints of its own for a service.

Source: kube-proxy's service health server: 200 with at least one local endpoint, 503 without, and the same JSON body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping

from pilothouse.network.facts import Check

log = logging.getLogger(__name__)

_MOST_HEAD = 8192
_HEAD_SECONDS = 5.0


class HealthChecks:
    """Listens on the node's address at each port of `wanted`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._wanted: dict[int, Check] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._failed: set[int] = set()

    async def put(self, wanted: Mapping[int, Check]) -> None:
        """Makes these the ports there are; one that cannot be listened on is logged, and tried again next time."""
        self._wanted = dict(wanted)
        for port in self._servers.keys() - wanted.keys():
            self._servers.pop(port).close()
        for port in wanted.keys() - self._servers.keys():
            try:
                self._servers[port] = await asyncio.start_server(self._answer, self._address, port, limit=_MOST_HEAD)
                self._failed.discard(port)
            except OSError as error:
                if port not in self._failed:
                    log.error("health check port %d of %s cannot be listened on: %s", port, wanted[port].name, error)
                self._failed.add(port)

    async def close(self) -> None:
        await self.put({})

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_HEAD_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(response(self._wanted.get(port)))
                await writer.drain()
        writer.close()


def response(check: Check | None) -> bytes:
    """The whole HTTP answer."""
    found = check or Check("", "", 0)
    tree = {
        "service": {"namespace": found.namespace, "name": found.name},
        "localEndpoints": found.endpoints,
        "serviceProxyHealthy": True,
    }
    body = json.dumps(tree).encode()
    status = "200 OK" if found.endpoints else "503 Service Unavailable"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        f"X-Load-Balancing-Endpoint-Weight: {found.endpoints}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
