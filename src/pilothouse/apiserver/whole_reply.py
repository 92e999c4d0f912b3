"""Answers whose body is at hand, written in one piece.

aiohttp's own response makes a dictionary of headers for each and takes three times as long as all the rest of its
part in a request. This one overrides nothing but what the library's protocol calls.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpVersion10

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_WITHOUT_BODY = frozenset({204, 304})


class WholeReply(web.StreamResponse):
    """Status, headers (names in lower case, without a length) and body. Raises ValueError for a header with a line
    break in it."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status=status)
        self._head = _head(status, tuple(headers.items()))
        self._whole = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Writes all there is, and waits while the client does not read what it has been sent."""
        if not request.keep_alive:
            self.force_close()
            connection = b"connection: close\r\n"
        else:
            self._keep_alive = True
            connection = b"connection: keep-alive\r\n" if request.version == HttpVersion10 else b""
        bare = self.status in _WITHOUT_BODY
        length = b"" if bare else b"content-length: %d\r\n" % len(self._whole)
        body = b"" if bare or request.method == "HEAD" else self._whole
        writer = request.writer
        transport = writer.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        transport.write(b"%b%b%bdate: %b\r\n\r\n%b" % (self._head, length, connection, _date(int(time.time())), body))
        await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything has been written."""


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header must not contain a line break")
    return ("\r\n".join(lines) + "\r\n").encode()


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
