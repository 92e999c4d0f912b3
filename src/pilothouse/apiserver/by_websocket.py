"""Logs and watches told over a WebSocket, as browsers ask for them.

Source: upstream's `wsstream` readers (a log: binary messages, or base64 in text ones) and its watch handler (a text
message for each event); for tokens, upstream's WebSocket authenticator.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from pilothouse.apiserver.upgrade import Message, MessageType, Socket, Upgrade
from pilothouse.client.wire import Response

_BASE64: Final = "base64.binary.k8s.io"
_KNOWN: Final = ("", "binary.k8s.io", _BASE64)
_TOKEN: Final = "base64url.bearer.authorization.k8s.io."


def asked(headers: Mapping[str, str]) -> bool:
    """Whether a request is to become a WebSocket."""
    return headers.get("upgrade", "").lower() == "websocket"


def token(headers: Mapping[str, str]) -> str:
    """The bearer token among the protocols a browser offers, which can set no other header; "" without one."""
    if not asked(headers):
        return ""
    for protocol in _offered(headers):
        if protocol.startswith(_TOKEN):
            text = protocol.removeprefix(_TOKEN)
            with contextlib.suppress(binascii.Error, UnicodeDecodeError, ValueError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return ""


def told(response: Response, headers: Mapping[str, str], *, events: bool) -> Upgrade:
    """A streamed answer as one over a WebSocket: `events` come a line each, anything else in pieces."""
    protocol = next((name for name in _offered(headers) if name in _KNOWN), None)
    stream = response.stream if response.stream is not None else _only(response.body)

    async def relay(client: Socket) -> None:
        sending = asyncio.create_task(_send(client, _framed(stream, events, protocol)))
        gone = asyncio.create_task(_closed(client))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await abandon()

    async def abandon() -> None:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()

    return Upgrade(101, protocol=protocol, relay=relay, abandon=abandon)


def _offered(headers: Mapping[str, str]) -> list[str]:
    return [entry.strip() for entry in headers.get("sec-websocket-protocol", "").split(",") if entry.strip()]


async def _framed(stream: AsyncIterator[bytes], events: bool, protocol: str | None) -> AsyncIterator[Message]:
    rest = b""
    async for piece in stream:
        if not events:
            plain = protocol != _BASE64
            kind = MessageType.BINARY if plain else MessageType.TEXT
            yield Message(kind, piece if plain else base64.b64encode(piece))
            continue
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield Message(MessageType.TEXT, line)
    if rest:
        yield Message(MessageType.TEXT, rest)


async def _send(client: Socket, messages: AsyncIterator[Message]) -> None:
    async for message in messages:
        await client.send(message)
    await client.send(Message(MessageType.CLOSE, b""))


async def _closed(client: Socket) -> None:
    """What a client says is not listened to, but for its end."""
    while (await client.receive()).type is not MessageType.CLOSE:
        pass


async def _only(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
