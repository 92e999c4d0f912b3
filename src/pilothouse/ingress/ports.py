"""Ports of the node's address that Gateways ask for and others have."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping

from pilothouse.ingress.haproxy import HTTP, HTTPS
from pilothouse.ingress.proxy import Proxy
from pilothouse.ingress.routes import Plan
from pilothouse.linux.sockets import socket_family


class Ports:
    """`held` are the ports of load balancers, with whose they are; `ingresses` what Ingresses are served."""

    def __init__(self, proxy: Proxy, address: str, held: Mapping[int, str], ingresses: Plan) -> None:
        self._address = address
        self._held = held
        self._ingresses = ingresses
        self._bound = _bound(proxy) if proxy.running() else set()

    def taken(self, port: int, tls: bool) -> str:
        """Why a Gateway cannot have a port, or nothing."""
        if port in self._held:
            return f"port {port} of {self._address} belongs to service {self._held[port]}"
        if self._ingresses.served and port in (HTTP, HTTPS) and tls != (port == HTTPS):
            return f"port {port} serves Ingresses {'with' if port == HTTPS else 'without'} TLS"
        return "" if port in self._bound else self._occupied(port)

    def _occupied(self, port: int) -> str:
        with socket.socket(socket_family(self._address), socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((self._address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return f"port {port} of {self._address} is used by another program of this machine"
                return f"port {port} of {self._address}: {error.strerror}"
        return ""


def _bound(proxy: Proxy) -> set[int]:
    """The ports that HAProxy has at present."""
    try:
        text = proxy.config.read_text()
    except OSError:
        return set()
    return {int(port) for port in re.findall(r"^  bind \S+:(\d+)", text, re.MULTILINE)}
