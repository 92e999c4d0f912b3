"""Listening sockets that the supervisor holds, so that connections queue while the process behind them is restarted."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from pathlib import Path

IP_FREEBIND = 15
VARIABLE = "PILOTHOUSE_LISTEN_FDS"
"""Names the inherited sockets to a child: `tcp:3,tcp:4,udp:5`."""


class PortInUse(Exception):
    """The address cannot be bound; the message names who holds it, if that can be told."""


def listen_tcp(address: str, port: int, *, free: bool = False, option: str = "--listen") -> socket.socket:
    """A listening TCP socket; `free` allows an address the host does not have yet. Raises PortInUse.

    `option` is what the message names to choose another port.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(sock, address, port, free, option)
    sock.listen(1024)
    return sock


def bind_udp(address: str, port: int, *, free: bool = False) -> socket.socket:
    """A bound UDP socket. Raises PortInUse."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    _bind(sock, address, port, free, "")
    return sock


def inherited() -> dict[str, list[socket.socket]]:
    """The sockets handed over by the supervisor, by protocol (`tcp`, `udp`); empty without one."""
    found: dict[str, list[socket.socket]] = {"tcp": [], "udp": []}
    for item in filter(None, os.environ.get(VARIABLE, "").split(",")):
        protocol, _, descriptor = item.partition(":")
        sock = socket.socket(fileno=int(descriptor))
        sock.setblocking(False)
        found[protocol].append(sock)
    return found


_PIDFD_GETFD = 438  # x86-64 and arm64 alike; pidfd_getfd(2), Linux 5.6


def taken_over(pid: int) -> list[tuple[str, socket.socket]]:
    """The sockets a running child was handed by an earlier supervisor, shared with it again; those that can be had."""
    found: list[tuple[str, socket.socket]] = []
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        prefix = VARIABLE.encode() + b"="
        text = next((v.removeprefix(prefix).decode() for v in variables if v.startswith(prefix)), "")
        descriptor = os.pidfd_open(pid)
        try:
            for item in filter(None, text.split(",")):
                protocol, _, number = item.partition(":")
                copy = ctypes.CDLL(None).syscall(_PIDFD_GETFD, descriptor, int(number), 0)
                if copy >= 0:
                    found.append((protocol, socket.socket(fileno=copy)))
        finally:
            os.close(descriptor)
    return found


def _bind(sock: socket.socket, address: str, port: int, free: bool, option: str) -> None:
    try:
        if free:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        sock.bind((address, port))
    except OSError as error:
        kind = "tcp" if sock.type == socket.SOCK_STREAM else "udp"
        sock.close()
        if error.errno == errno.EADDRINUSE:
            holder = port_holder(kind, port, address)
            raise PortInUse(
                f"{address}:{port} ({kind}) is already in use"
                + (f" by {holder}" if holder else "")
                + (": stop that program" if port == 53 or not option else f": stop it, or choose another with {option}")
            ) from error
        raise PortInUse(f"cannot listen on {address}:{port} ({kind}): {error.strerror}") from error


def port_holder(kind: str, port: int, address: str = "") -> str | None:
    """`name (pid N)` of a process that holds the port (on `address` or on all), as far as /proc tells."""
    wanted = {"00000000", socket.inet_aton(address)[::-1].hex().upper()} if address else None
    inodes = set()
    for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
        fields = line.split()
        local, _, number = fields[1].rpartition(":")
        bound = (kind == "udp" or fields[3] == "0A") and (wanted is None or local in wanted)
        if bound and int(number, 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None
