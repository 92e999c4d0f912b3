"""Sockets by the version of IP of their address."""

from __future__ import annotations

import socket

_IP_FREEBIND = 15
_IPV6_FREEBIND = 78


def socket_family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def allow_foreign(sock: socket.socket) -> None:
    """Lets a socket be bound to an address that the host does not have yet."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
