"""Port-forward over `v4.channel.k8s.io` or `v5.channel.k8s.io`: one connection a port.

The i-th port asked for has channel 2i for data and 2i+1 for errors; the first message on each carries the port in two
bytes, little-endian. In v5 `[255, channel]` ends the client's direction of a data channel.
"""

from __future__ import annotations

import asyncio
import contextlib

from pilothouse.node.streams import channels
from pilothouse.node.streams.forward import ForwardTarget, Inbox, Unreachable, forward
from pilothouse.node.streams.session import Socket


async def run(socket: Socket, target: ForwardTarget, ports: list[int]) -> None:
    """Returns when every connection is over, or the client has gone."""
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await socket.send(channels.encode(channel, port.to_bytes(2, "little")))
    inboxes = [Inbox() for _ in ports]
    incoming = asyncio.create_task(_incoming(socket, inboxes), name="port-forward input")
    carrying = [
        asyncio.create_task(_carry(socket, target, index, port, inboxes[index]), name=f"forward to {port}")
        for index, port in enumerate(ports)
    ]
    everything = asyncio.gather(*carrying)
    try:
        await asyncio.wait((incoming, everything), return_when=asyncio.FIRST_COMPLETED)
    finally:
        incoming.cancel()
        everything.cancel()
        await asyncio.gather(incoming, *carrying, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await everything
    await socket.close()


async def _incoming(socket: Socket, inboxes: list[Inbox]) -> None:
    while (message := await socket.receive()) is not None:
        if socket.protocol == channels.V5 and len(message) == 2 and message[0] == 255:
            index, odd = divmod(message[1], 2)
            if not odd and index < len(inboxes):
                await inboxes[index].end()
            continue
        if not message:
            continue
        index, odd = divmod(message[0], 2)
        if not odd and index < len(inboxes):
            await inboxes[index].put(message[1:])


async def _carry(socket: Socket, target: ForwardTarget, index: int, port: int, inbox: Inbox) -> None:
    async def send(piece: bytes) -> None:
        await socket.send(channels.encode(2 * index, piece))

    try:
        await forward(target, port, inbox, send)
    except Unreachable as error:
        await socket.send(channels.encode(2 * index + 1, str(error).encode()))
