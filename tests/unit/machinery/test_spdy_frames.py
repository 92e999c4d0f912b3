"""SPDY/3.1 frames: what one end writes, the other reads, however the bytes are cut."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery import spdy
from pilothouse.machinery.spdy_dictionary import DICTIONARY


def test_the_dictionary_is_the_protocols() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_a_stream_from_open_to_end() -> None:
    client, server = spdy.Framing(), spdy.Framing()
    headers = {"streamtype": "data", "port": "8080", "requestid": "0"}
    assert list(server.receive(client.open(1, headers))) == [spdy.Opened(1, headers, fin=False)]
    assert list(client.receive(server.reply(1))) == [spdy.Replied(1, fin=False)]
    assert list(server.receive(client.data(1, b"hello", fin=True))) == [spdy.Data(1, b"hello", fin=True)]
    assert list(server.receive(client.reset(1, spdy.CANCEL))) == [spdy.Reset(1, spdy.CANCEL)]
    assert list(server.receive(client.ping(7))) == [spdy.Pinged(7)]
    assert list(server.receive(client.go_away(1))) == [spdy.GoneAway()]


def test_compression_goes_on_from_stream_to_stream() -> None:
    client, server = spdy.Framing(), spdy.Framing()
    headers = {"streamtype": "error", "port": "8080", "requestid": "12"}
    first, second = client.open(1, headers), client.open(3, headers)
    assert len(second) < len(first)
    assert [event.stream for event in server.receive(first + second) if isinstance(event, spdy.Opened)] == [1, 3]


@given(st.binary(max_size=100_000), st.integers(1, 5000))
def test_pieces_of_any_size_give_the_same_bytes(payload: bytes, cut: int) -> None:
    wire = spdy.Framing.data(5, payload, fin=True)
    server = spdy.Framing()
    events = [event for start in range(0, len(wire), cut) for event in server.receive(wire[start : start + cut])]
    data = [event for event in events if isinstance(event, spdy.Data)]
    assert b"".join(event.payload for event in data) == payload
    assert [event.fin for event in data] == [False] * (len(data) - 1) + [True]
    assert all(len(event.payload) <= spdy.MOST_DATA for event in data)


def test_control_frames_that_say_nothing_here_are_passed_over() -> None:
    settings = bytes.fromhex("8003000400000004") + bytes(4)
    window = bytes.fromhex("8003000900000008") + bytes(8)
    unknown = bytes.fromhex("8003ffff00000002") + b"xx"
    assert list(spdy.Framing().receive(settings + window + unknown + spdy.Framing.ping(1))) == [spdy.Pinged(1)]


@pytest.mark.parametrize(
    "wire",
    [
        bytes.fromhex("8002000600000004") + bytes(4),  # version 2
        bytes.fromhex("8003000600000001") + b"x",  # a PING without an id
        bytes.fromhex("0000000100ffffff"),  # larger than any frame of ours
        bytes.fromhex("800300010000000c") + bytes(10) + b"xx",  # headers that are not compressed
    ],
)
def test_what_breaks_the_protocol_is_refused(wire: bytes) -> None:
    with pytest.raises(spdy.SpdyError):
        list(spdy.Framing().receive(wire))
