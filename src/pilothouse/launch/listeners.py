"""Listening sockets that the supervisor holds, so that connections queue while the process behind them is restarted."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
from pathlib import Path

from pilothouse.kinds.families import join_host_port
from pilothouse.linux.sockets import allow_foreign, socket_family

VARIABLE = "PILOTHOUSE_LISTEN_FDS"
"""Names the inherited sockets to a child: `tcp:3,tcp:4,udp:5`."""


class PortInUse(Exception):
    """The address cannot be bound; the message names who holds it, if that can be told."""


def listen_tcp(address: str, port: int, *, free: bool = False, option: str = "--listen") -> socket.socket:
    """A listening TCP socket; `free` allows an address the host does not have yet. Raises PortInUse.

    `option` is what the message names to choose another port.
    """
    sock = socket.socket(socket_family(address), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(sock, address, port, free, option)
    sock.listen(1024)
    return sock


def bind_udp(address: str, port: int, *, free: bool = False) -> socket.socket:
    """A bound UDP socket. Raises PortInUse."""
    sock = socket.socket(socket_family(address), socket.SOCK_DGRAM)
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
            allow_foreign(sock)
        if sock.family == socket.AF_INET6:
            # `::` is every address of IPv6 alone: that of IPv4 has a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError as error:
        kind, where = "tcp" if sock.type == socket.SOCK_STREAM else "udp", join_host_port(address, port)
        sock.close()
        if error.errno == errno.EADDRINUSE:
            holder = port_holder(kind, port, address)
            raise PortInUse(
                f"{where} ({kind}) is already in use"
                + (f" by {holder}" if holder else "")
                + (": stop that program" if port == 53 or not option else f": stop it, or choose another with {option}")
            ) from error
        raise PortInUse(f"cannot listen on {where} ({kind}): {error.strerror}") from error


def port_holder(kind: str, port: int, address: str = "") -> str | None:
    """`name (pid N)` of a process that holds the port (on `address` or on all), as far as /proc tells."""
    wanted = {_ANY, _ANY_IPV6, _in_table(address)} if address else None
    inodes = set()
    for table in (kind, f"{kind}6"):
        with contextlib.suppress(FileNotFoundError):  # of IPv6, on a host without it
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
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


_ANY, _ANY_IPV6 = "0" * 8, "0" * 32


def _in_table(address: str) -> str:
    """An address as the kernel's tables of sockets write it: words of four bytes in the host's order."""
    packed = socket.inet_pton(socket_family(address), address)
    words = (packed[start : start + 4] for start in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
