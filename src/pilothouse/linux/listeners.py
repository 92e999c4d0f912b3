"""Which local ports somebody listens on, and who: read from /proc/net. Raises nothing for what has just gone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_TABLES = (("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07"))
_ANY = ("0" * 8, "0" * 32)
_NET = Path("/proc/thread-self/net")


class Listener(NamedTuple):
    """A listening socket. `address` is "" for every address."""

    protocol: str
    address: str
    port: int
    inode: str


def listeners() -> list[Listener]:
    """The TCP and UDP sockets that wait for strangers in the current network namespace."""
    found: list[Listener] = []
    for file, protocol, state in _TABLES:
        with contextlib.suppress(FileNotFoundError):
            found += parse((_NET / file).read_text(), protocol, state)
    return found


def parse(table: str, protocol: str, state: str) -> Iterable[Listener]:
    """The sockets in that state of one of the kernel's tables."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or words[3] != state:
            continue
        address, port = words[1].split(":")
        if address in _ANY:
            yield Listener(protocol, "", int(port, 16), words[9])
        elif len(address) == 8:
            text = ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
            yield Listener(protocol, text, int(port, 16), words[9])


def holder(inode: str) -> str:
    """The process that holds a socket, as `name (pid N)`; "another process" when it cannot be told."""
    wanted = f"socket:[{inode}]"
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(f"{entry.path}/fd"):
                if os.readlink(descriptor.path) == wanted:
                    return f"{Path(entry.path, 'comm').read_text().strip()} (pid {entry.name})"
    return "another process"
