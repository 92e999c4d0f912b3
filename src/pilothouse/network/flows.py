"""Which tracked flows a change of the table concerns, and forgetting them.

nftables decides on a flow's first packet only. So a UDP flow keeps going to an endpoint that is gone, and an
established flow passes although a new policy denies it, until conntrack forgets the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pilothouse.linux.conntrack import Conntrack, Flow
from pilothouse.linux.netlink import Version
from pilothouse.network.facts import Key
from pilothouse.network.verdict import Attempt

_PEERS = ("peers_", "ports_")


class StaleUdp(NamedTuple):
    """UDP flows to `frontend` whose answers come from `backend` or, if that is None, untranslated ones."""

    frontend: tuple[str, int]
    backend: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Consequences:
    """What must be done about tracked flows: forget stale UDP ones, judge all of isolated pods again."""

    stale: frozenset[StaleUdp]
    judge: bool


def consequences(before: Mapping[Key, str | None], after: Mapping[Key, str | None]) -> Consequences:
    """The consequences of a change, given the touched elements before and after it (None: not there)."""
    stale: set[StaleUdp] = set()
    old, new = _udp(before), _udp(after)
    for frontend in old.keys() | new.keys():
        gone = old.get(frontend, set()) - new.get(frontend, set())
        stale |= {StaleUdp(frontend, backend) for backend in gone}
        if frontend not in old:
            stale.add(StaleUdp(frontend, None))
    judge = any(
        before[key] != value and (key[0] in ("ingress", "egress") or (value is None and key[0][:6] in _PEERS))
        for key, value in after.items()
    )
    return Consequences(frozenset(stale), judge)


def _udp(elements: Mapping[Key, str | None]) -> dict[tuple[str, int], set[tuple[str, int]]]:
    found: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for (name, key), value in elements.items():
        if name == "endpoints" and value is not None and " . udp . " in key:
            address, _, port, _ = key.split(" . ")
            backend, backend_port = value.split(" . ")
            found.setdefault((address, int(port)), set()).add((backend, int(backend_port)))
    return found


def is_stale(flow: Flow, stale: frozenset[StaleUdp]) -> bool:
    """Whether a flow is one of those."""
    if flow.original.protocol != "udp":
        return False
    frontend = (flow.original.destination, flow.original.destination_port)
    backend = (flow.reply.source, flow.reply.source_port)
    return StaleUdp(frontend, None if backend == frontend else backend) in stale


def attempt_of(flow: Flow) -> Attempt:
    """The flow's first packet as the forward hook saw it."""
    return Attempt(flow.original.source, flow.reply.source, flow.original.protocol, flow.reply.source_port)


def forget(unwanted: Callable[[Flow], bool], versions: Iterable[Version] = (4,)) -> int:
    """Makes conntrack forget the flows for which `unwanted` is true; returns how many. Reads all: use a thread."""
    with Conntrack() as conntrack:
        found = (flow for version in versions for flow in conntrack.flows(version))
        return sum(conntrack.delete(flow) for flow in found if unwanted(flow))
