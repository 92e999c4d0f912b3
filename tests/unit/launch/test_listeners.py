"""Sockets held for others, and who holds one that is wanted."""

from __future__ import annotations

import os
import socket

import pytest

from pilothouse.launch import listeners
from pilothouse.linux.host import has_ipv6


def test_a_taken_port_names_its_holder() -> None:
    held = listeners.listen_tcp("127.0.0.1", 0)
    port = held.getsockname()[1]
    with pytest.raises(listeners.PortInUse, match=rf"127.0.0.1:{port}.*pid {os.getpid()}"):
        listeners.listen_tcp("127.0.0.1", port)
    held.close()


def test_a_taken_udp_port_names_its_holder() -> None:
    held = listeners.bind_udp("127.0.0.1", 0)
    port = held.getsockname()[1]
    with pytest.raises(listeners.PortInUse, match=rf"pid {os.getpid()}"):
        listeners.bind_udp("127.0.0.1", port)
    held.close()


def test_an_address_the_host_has_not_yet() -> None:
    with pytest.raises(listeners.PortInUse, match="cannot listen"):
        listeners.listen_tcp("198.51.100.77", 0)
    listeners.listen_tcp("198.51.100.77", 0, free=True).close()


def test_a_child_gets_the_sockets_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    tcp, udp = listeners.listen_tcp("127.0.0.1", 0), listeners.bind_udp("127.0.0.1", 0)
    names = (tcp.getsockname(), udp.getsockname())
    numbers = (os.dup(tcp.fileno()), os.dup(udp.fileno()))
    monkeypatch.setenv(listeners.VARIABLE, f"tcp:{numbers[0]},udp:{numbers[1]}")
    found = listeners.inherited()
    assert [sock.getsockname() for sock in found["tcp"] + found["udp"]] == list(names)
    assert found["udp"][0].type == socket.SOCK_DGRAM
    for sock in (tcp, udp, *found["tcp"], *found["udp"]):
        sock.close()


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")


@IPV6
def test_ports_of_ipv6_addresses() -> None:
    held = listeners.listen_tcp("::1", 0)
    port = held.getsockname()[1]
    with pytest.raises(listeners.PortInUse, match=rf"\[::1\]:{port} .*pid {os.getpid()}"):
        listeners.listen_tcp("::1", port)
    # IPv4's port of that number is another one.
    listeners.listen_tcp("127.0.0.1", port).close()
    held.close()
    every = listeners.listen_tcp("::", 0)
    listeners.listen_tcp("0.0.0.0", every.getsockname()[1]).close()
    every.close()
    listeners.bind_udp("2001:db8::77", 0, free=True).close()
    with pytest.raises(listeners.PortInUse, match="cannot listen"):
        listeners.bind_udp("2001:db8::77", 0)


@IPV6
def test_who_listens_by_both_is_named_for_either() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.listen()
        port = both.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            with pytest.raises(listeners.PortInUse, match=rf"pid {os.getpid()}"):
                listeners.listen_tcp(address, port)
