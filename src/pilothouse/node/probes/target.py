"""What a probe is aimed at."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.kinds.core.pod import Container


class NoSuchPort(ValueError):
    """The container names no port so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one try of a probe showed. `timed_out` tells a silent target from one that answered badly."""

    success: bool
    message: str = ""
    timed_out: bool = False


def port_number(container: Container, port: int | str) -> int:
    """The number of a port given by number or by name. Raises NoSuchPort."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    for candidate in container.ports:
        if candidate.name == port:
            return candidate.container_port
    raise NoSuchPort(f"container {container.name} has no port named {port!r}")
