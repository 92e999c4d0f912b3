import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from pilothouse.apiserver import by_websocket
from pilothouse.apiserver.upgrade import Message, MessageType
from pilothouse.client.wire import Response

UPGRADE = {"upgrade": "WebSocket"}


class Client:
    """Takes messages; goes away when told to."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.heard = asyncio.Event()
        self.goes = asyncio.Event()

    async def receive(self) -> Message:
        await self.goes.wait()
        return Message(MessageType.CLOSE, b"")

    async def send(self, message: Message) -> None:
        self.told.append(message)
        self.heard.set()


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def told(protocol: str, events: bool, *given: bytes) -> list[tuple[MessageType, bytes]]:
    client = Client()
    answer = by_websocket.told(
        Response(200, stream=pieces(*given)), UPGRADE | {"sec-websocket-protocol": protocol}, events=events
    )
    assert answer.status == 101
    assert answer.relay is not None
    await answer.relay(client)
    return [(message.type, message.data) for message in client.told]


END = (MessageType.CLOSE, b"")


async def test_a_log_comes_in_binary_messages_or_as_base64() -> None:
    assert await told("", False, b"a\nb", b"c") == [(MessageType.BINARY, b"a\nb"), (MessageType.BINARY, b"c"), END]
    assert await told("base64.binary.k8s.io", False, b"a\n") == [(MessageType.TEXT, base64.b64encode(b"a\n")), END]


async def test_an_event_is_a_message_however_the_stream_is_cut() -> None:
    assert await told("", True, b'{"a":1}\n{"b"', b":2}\n", b"{}") == [
        (MessageType.TEXT, b'{"a":1}'),
        (MessageType.TEXT, b'{"b":2}'),
        (MessageType.TEXT, b"{}"),
        END,
    ]


async def test_a_client_that_goes_ends_the_stream() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"one\n"
            await asyncio.Event().wait()
        finally:
            ended.set()

    client = Client()
    answer = by_websocket.told(Response(200, stream=endless()), UPGRADE, events=True)
    assert answer.relay is not None
    relaying = asyncio.create_task(answer.relay(client))
    await client.heard.wait()
    client.goes.set()
    await relaying
    assert ended.is_set()


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        (UPGRADE | {"sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.YS5iLmM, v5"}, "a.b.c"),
        (UPGRADE | {"sec-websocket-protocol": "v5"}, ""),
        (UPGRADE | {"sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.%"}, ""),
        ({"sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.YS5iLmM"}, ""),
    ],
)
def test_a_token_may_stand_among_the_protocols(headers: dict[str, str], token: str) -> None:
    assert by_websocket.token(headers) == token
