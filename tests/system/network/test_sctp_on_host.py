"""SCTP through the rules, by packets written here: a host whose kernel has no SCTP sockets can still carry it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from network_host import PODS, PREFIX, Cluster, eventually, within

from pilothouse.network.network import Network

pytestmark = pytest.mark.system

A, B = PREFIX + "a", PREFIX + "b"
SERVICE = "10.97.0.20"
INIT, INIT_ACK = 1, 2
CLIENT_TAG, SERVER_TAG = 0x11111111, 0x22222222


class Chunk(NamedTuple):
    source: str
    from_port: int
    to_port: int
    kind: int


def checksum(data: bytes) -> int:
    """CRC32c (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def packet(from_port: int, to_port: int, kind: int, tag: int, own_tag: int) -> bytes:
    """An INIT or INIT ACK chunk (RFC 9260, 3.3.2)."""
    cookie = struct.pack(">HH4s", 7, 8, b"biscuit"[:4]) if kind == INIT_ACK else b""
    body = struct.pack(">BBHIIHHI", kind, 0, 20 + len(cookie), own_tag, 65536, 1, 1, 1) + cookie
    head = struct.pack(">HHI", from_port, to_port, tag)
    return head + struct.pack("<I", checksum(head + bytes(4) + body)) + body


@contextlib.contextmanager
def raw(namespace: str) -> Iterator[socket.socket]:
    made = within(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP))
    made.settimeout(0.3)
    with made:
        yield made


def receive(sock: socket.socket) -> Chunk:
    data, (source, _) = sock.recvfrom(2048)
    sctp = data[(data[0] & 15) * 4 :]
    assert checksum(sctp[:8] + bytes(4) + sctp[12:]) == struct.unpack_from("<I", sctp, 8)[0]
    return Chunk(source, *struct.unpack_from(">HH", sctp), sctp[12])


def associate(port: int) -> tuple[Chunk, Chunk]:
    """What the endpoint sees of an INIT sent to the service, and what the client sees of the answer."""
    with raw(A) as client, raw(B) as server:
        client.sendto(packet(4000, port, INIT, 0, CLIENT_TAG), (SERVICE, 0))
        asked = receive(server)
        server.sendto(packet(asked.to_port, asked.from_port, INIT_ACK, CLIENT_TAG, SERVER_TAG), (asked.source, 0))
        return asked, receive(client)


async def test_a_service_carries_sctp_and_a_policy_decides_on_it(network: Network, cluster: Cluster) -> None:
    cluster.endpoints("signal", [PODS["b"]], [{"name": "", "port": 2905, "protocol": "SCTP"}])
    cluster.service("signal", SERVICE, [{"name": "", "port": 3868, "protocol": "SCTP"}])
    expected = (Chunk(PODS["a"], 4000, 2905, INIT), Chunk(SERVICE, 3868, 4000, INIT_ACK))
    await eventually(lambda: associate(3868), expected)
    for name in "ab":
        cluster.pod(name, PODS[name], {"app": name})
    policy = {
        "metadata": {"name": "signal", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "b"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 2905, "protocol": "TCP"}]}],
        },
    }
    cluster.put("networkpolicies", policy)
    await eventually(lambda: associate(3868), TimeoutError)
    policy["spec"]["ingress"] = [{"ports": [{"port": 2905, "protocol": "SCTP"}]}]  # type: ignore[index]
    cluster.put("networkpolicies", policy)
    await eventually(lambda: associate(3868), expected)
    assert await asyncio.to_thread(associate, 3868) == expected
