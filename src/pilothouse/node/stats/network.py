"""Counters of network interfaces, read from /proc of a process in the namespace meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interface:
    """What an interface has carried since it was made."""

    name: str
    rx_bytes: int
    rx_errors: int
    tx_bytes: int
    tx_errors: int


def read_interfaces(pid: int | None) -> list[Interface]:
    """The interfaces a process sees, its own loopback left out; None means this process. Empty when it has ended."""
    try:
        with open(f"/proc/{pid if pid is not None else 'self'}/net/dev") as file:
            return parse(file.read())
    except OSError:
        return []


def parse(text: str) -> list[Interface]:
    """The lines of /proc/net/dev below its two lines of heading."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if len(fields) >= 16 and name.strip() != "lo":
            counts = (int(fields[0]), int(fields[2]), int(fields[8]), int(fields[10]))
            found.append(Interface(name.strip(), *counts))
    return found
