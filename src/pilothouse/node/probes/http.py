"""HTTP probes over plain streams: a status from 200 to 399 is a success. The answer's body is not read."""

from __future__ import annotations

import asyncio
import ssl

from pilothouse.kinds.core.pod import HTTPGetAction
from pilothouse.kinds.families import join_host_port
from pilothouse.node.probes.target import Outcome

_LINE_LIMIT = 16 * 1024


async def get(action: HTTPGetAction, host: str, port: int, timeout: float) -> Outcome:
    """One GET as the action describes it."""
    tls = action.scheme.upper() == "HTTPS"
    url = f"{action.scheme.lower()}://{join_host_port(host, port)}{action.path}"
    try:
        async with asyncio.timeout(timeout):
            status = await _status(action, host, port, _context() if tls else None)
    except TimeoutError:
        return Outcome(False, f'Get "{url}": context deadline exceeded', timed_out=True)
    except (OSError, ValueError, EOFError) as error:
        return Outcome(False, f'Get "{url}": {error}')
    if 200 <= status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def _status(action: HTTPGetAction, host: str, port: int, tls: ssl.SSLContext | None) -> int:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_LINE_LIMIT)
    try:
        writer.write(_request(action, host, port))
        line = await reader.readline()
        words = line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise ValueError(f"malformed HTTP response {line[:80]!r}" if line else "the connection was closed (EOF)")
        return int(words[1])
    finally:
        # Nothing more is read: the connection is cut, so that no socket lingers.
        writer.transport.abort()


def _request(action: HTTPGetAction, host: str, port: int) -> bytes:
    path = action.path if action.path.startswith("/") else "/" + action.path
    given = {header.name.lower() for header in action.http_headers}
    lines = [f"GET {path} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {join_host_port(host, port)}")
    if "user-agent" not in given:
        lines.append("User-Agent: kube-probe/1.35")
    if "accept" not in given:
        lines.append("Accept: */*")
    lines += [f"{header.name}: {header.value}" for header in action.http_headers]
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def _context() -> ssl.SSLContext:
    """Probes do not verify certificates: they ask whether a server answers, as upstream's do."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
