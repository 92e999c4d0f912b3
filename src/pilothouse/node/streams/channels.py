"""The WebSocket subprotocols `v4.channel.k8s.io`, `v5.channel.k8s.io` and the first, `channel.k8s.io`. Pure.

Each binary message opens with a byte that names its channel. v5 adds the message `[255, channel]`, which closes one
channel from the client's side; the others have no way to say that standard input has ended. The first tells failures
only, in words; who offers no subprotocol gets it.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
V1, V4, V5 = "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"
PROTOCOLS = (V5, V4, V1)
_CLOSE = 255


class ChannelError(Exception):
    """The client broke the subprotocol."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes for a channel."""

    channel: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Closed:
    """The client will send nothing more on a channel (v5 only)."""

    channel: int


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's new size in characters."""

    width: int
    height: int


def decode(protocol: str, message: bytes) -> Data | Closed | Size | None:
    """What a client's message says; None for one that says nothing. Raises ChannelError."""
    if not message:
        return None
    channel = message[0]
    if channel == _CLOSE and protocol == V5:
        if len(message) != 2:
            raise ChannelError(f"a close message has 2 bytes, not {len(message)}")
        return Closed(message[1])
    if channel == RESIZE:
        return _size(message[1:])
    return Data(channel, memoryview(message)[1:])


def encode(channel: int, payload: bytes) -> bytes:
    return bytes((channel,)) + payload


def ending(protocol: str, status: bytes) -> bytes:
    """The message that ends a session with this Status; b"" when the subprotocol has none."""
    if protocol in (V4, V5):
        return encode(ERROR, status)
    message = orjson.loads(status).get("message", "")
    return encode(ERROR, message.encode()) if message else b""


def _size(payload: bytes) -> Size | None:
    if not payload:
        return None
    try:
        tree = orjson.loads(payload)
        return Size(int(tree["Width"]), int(tree["Height"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ChannelError(f"a terminal size is {{'Width': …, 'Height': …}}: {error!r}") from error


def exit_status(code: int) -> bytes:
    """The Status that ends a session whose process exited with `code`."""
    if code == 0:
        return orjson.dumps({"metadata": {}, "status": "Success"})
    return orjson.dumps(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    )


def failure_status(message: str) -> bytes:
    """The Status that ends a session which failed for another reason than its process."""
    return orjson.dumps(
        {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
    )
