"""Messages of the channel subprotocols."""

from __future__ import annotations

import orjson
import pytest

from pilothouse.node.streams import channels


def test_messages() -> None:
    assert channels.decode(channels.V5, b"\0hello") == channels.Data(0, memoryview(b"hello"))
    assert channels.decode(channels.V5, b"\xff\0") == channels.Closed(0)
    assert channels.decode(channels.V5, b'\x04{"Width":80,"Height":24}') == channels.Size(80, 24)
    assert channels.decode(channels.V5, b"") is None
    assert channels.encode(channels.STDOUT, b"x") == b"\x01x"


def test_closing_a_channel_is_of_v5_only() -> None:
    assert channels.decode(channels.V4, b"\xff\0") == channels.Data(255, memoryview(b"\0"))


@pytest.mark.parametrize("message", [b"\xff", b"\xff\0\0", b"\x04{}", b"\x04[1]", b"\x04nonsense"])
def test_what_breaks_the_protocol_is_refused(message: bytes) -> None:
    with pytest.raises(channels.ChannelError):
        channels.decode(channels.V5, message)


def test_statuses() -> None:
    assert orjson.loads(channels.exit_status(0)) == {"metadata": {}, "status": "Success"}
    failed = orjson.loads(channels.exit_status(3))
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert orjson.loads(channels.failure_status("no such thing"))["message"] == "no such thing"


def test_the_first_protocol_tells_failures_only_and_in_words() -> None:
    ended, failed = channels.exit_status(0), channels.exit_status(3)
    assert channels.ending(channels.V4, ended) == b"\x03" + ended
    for protocol in (channels.V1, ""):
        assert channels.ending(protocol, ended) == b""
        assert channels.ending(protocol, failed) == b"\x03command terminated with non-zero exit code: exit status 3"
