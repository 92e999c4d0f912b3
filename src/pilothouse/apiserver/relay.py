"""Passes WebSocket messages between a client and a node, both ways, until one side closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pilothouse.apiserver.upgrade import Message, MessageType, Socket

if TYPE_CHECKING:
    import aiohttp

_CLOSE_SECONDS = 5.0
_WENT_AWAY = 1001
_ABNORMAL = 1006


async def relay_between(client: Socket, node: aiohttp.ClientWebSocketResponse) -> None:
    """Returns when both sides are closed. Message boundaries, types and close codes are kept."""
    there = asyncio.create_task(_to_node(client, node))
    back = asyncio.create_task(_to_client(client, node))
    try:
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        # The side that closed has been passed on; the other direction gets a moment to end by itself.
        await asyncio.wait((there, back), timeout=_CLOSE_SECONDS)
    finally:
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
        await node.close()


async def _to_node(client: Socket, node: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        message = await client.receive()
        if message.type is MessageType.CLOSE:
            code = message.code if message.code != _ABNORMAL else _WENT_AWAY
            await node.close(code=code, message=message.data)
            return
        try:
            if message.type is MessageType.TEXT:
                await node.send_str(message.data.decode())
            else:
                await node.send_bytes(message.data)
        except ConnectionError:
            return


async def _to_client(client: Socket, node: aiohttp.ClientWebSocketResponse) -> None:
    import aiohttp

    while True:
        received = await node.receive()
        if received.type is aiohttp.WSMsgType.BINARY:
            await client.send(Message(MessageType.BINARY, received.data))
        elif received.type is aiohttp.WSMsgType.TEXT:
            await client.send(Message(MessageType.TEXT, received.data.encode()))
        else:
            code, reason = node.close_code or _WENT_AWAY, b""
            if received.type is aiohttp.WSMsgType.CLOSE and isinstance(received.extra, str):
                reason = received.extra.encode()
            await client.send(Message(MessageType.CLOSE, reason, code if code != _ABNORMAL else _WENT_AWAY))
            return
