"""Connections from inside another network namespace, made without moving this process there."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def socket_in(path: str, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A TCP socket of the network namespace at `path`; empty for the caller's. Blocks for 1 ms. Raises OSError.

    A socket stays in the namespace it was made in. So a thread enters the namespace, makes it, and ends: no thread
    that may be used again is ever left inside.
    """
    if not path:
        return socket.socket(family, socket.SOCK_STREAM)
    outcome: list[socket.socket | OSError] = []

    def enter() -> None:
        try:
            namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(namespace, _CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code), path)
                outcome.append(socket.socket(family, socket.SOCK_STREAM))
            finally:
                os.close(namespace)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=enter, name="enter-netns")
    thread.start()
    thread.join()
    (made,) = outcome
    if isinstance(made, OSError):
        raise made
    return made


async def connect_local(path: str, port: int) -> socket.socket:
    """A non-blocking connection to `port` of the namespace's own loopback, IPv4 before IPv6. Raises OSError of IPv4."""
    first: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            connection = socket_in(path, family)
        except OSError as error:
            first = first or error
            continue
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
        except OSError as error:
            connection.close()
            first = first or error
        except BaseException:
            connection.close()
            raise
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    assert first is not None
    raise first
