"""Packets that an nftables `log group` statement hands over, by nfnetlink_log."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from pilothouse.linux.netlink import NETLINK_NETFILTER, NetlinkSocket, attribute, attributes

_ULOG = 4 << 8
_PACKET, _CONFIG = _ULOG, _ULOG | 1
_CFG_COMMAND, _CFG_MODE = 1, 2
_BIND, _COPY_PACKET = 1, 2
_PAYLOAD, _PREFIX = 9, 10
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
_COPIED = 64


class Packet(NamedTuple):
    """What is read of a packet. `protocol` is tcp, udp, sctp or a number; ports are 0 where there are none."""

    prefix: str
    source: str
    destination: str
    protocol: str
    source_port: int
    port: int


class PacketLog:
    """The packets of one group in the network namespace this was made in. Its `fileno` is readable when there are any.

    Raises OSError when another process has the group.
    """

    def __init__(self, group: int) -> None:
        self._netlink = NetlinkSocket(NETLINK_NETFILTER)
        head = struct.pack("=BB", socket.AF_INET, 0) + struct.pack("!H", group)
        self._netlink.request(_CONFIG, 0, head + attribute(_CFG_COMMAND, bytes((_BIND,))))
        self._netlink.request(_CONFIG, 0, head + attribute(_CFG_MODE, struct.pack("!IBB", _COPIED, _COPY_PACKET, 0)))
        self._socket = self._netlink.socket
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._netlink.close()

    def read(self) -> tuple[list[Packet], bool]:
        """The packets that wait, and whether others were lost because nobody read."""
        found: list[Packet] = []
        lost = False
        for _ in range(64):
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS
                lost = True
                continue
            found += _packets(data)
        return found, lost


def _packets(data: bytes) -> Iterator[Packet]:
    offset = 0
    while offset + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if kind == _PACKET:
            values = dict(attributes(data[offset + 20 : offset + length]))
            packet = parse(values.get(_PREFIX, b"").rstrip(b"\0").decode("latin-1"), values.get(_PAYLOAD, b""))
            if packet is not None:
                yield packet
        offset += max(16, (length + 3) & ~3)


def parse(prefix: str, data: bytes) -> Packet | None:
    """A packet's addresses and ports; None for what is none. IPv6 with extension headers has no ports."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        size, number = (data[0] & 15) * 4, data[9]
        source, destination = str(IPv4Address(data[12:16])), str(IPv4Address(data[16:20]))
    elif len(data) >= 40 and data[0] >> 4 == 6:
        size, number = 40, data[6]
        source, destination = str(IPv6Address(data[8:24])), str(IPv6Address(data[24:40]))
    else:
        return None
    protocol = _PROTOCOLS.get(number, str(number))
    source_port, port = 0, 0
    if not protocol.isdigit() and len(data) >= size + 4:
        source_port, port = struct.unpack_from("!HH", data, size)
    return Packet(prefix, source, destination, protocol, source_port, port)
