"""What the rules need to know of this node and its cluster, and the form in which rules are handed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Literal, NamedTuple

Key = tuple[str, str]
"""The name of a set or map, and the key of an element of it, in nftables' notation."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Addresses and ranges in the usual notation. `addresses` are those on which node ports and host ports answer.

    `zone` is the node's, "" while it has none. All is of one version of IP; `dns_address` is "" where cluster DNS does
    not answer by it.
    """

    node_name: str
    addresses: tuple[str, ...]
    pod_range: str
    service_range: str
    dns_address: str
    zone: str = ""
    version: Literal[4, 6] = 4

    @property
    def family(self) -> str:
        """The version's name in the API."""
        return "IPv4" if self.version == 4 else "IPv6"

    def holds(self, text: str) -> bool:
        """Whether a text is an address of this version. nftables would look up anything else as a host name, and wait
        for it."""
        return version_of(text) == self.version


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one owner (a service, a pod, the set of policies) wants to be in the table.

    `elements` maps to the value of a map's element, "" for a set's; `chains` to the rules; `sets` to the declaration
    of a set or a limit.
    Several owners may want the same thing; it goes when the last of them stops wanting it.
    """

    elements: dict[Key, str] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.elements or self.chains or self.sets)

    def __or__(self, other: Contribution) -> Contribution:
        return Contribution(self.elements | other.elements, self.chains | other.chains, self.sets | other.sets)


NOTHING = Contribution()


class Check(NamedTuple):
    """What is told at a health check port: the service, and how many ready endpoints of it run on this node."""

    namespace: str
    name: str
    endpoints: int


@lru_cache(4096)
def version_of(text: str) -> int:
    """4 or 6 for an address of that version of IP, 0 for what is no address (or has a zone)."""
    try:
        found = ip_address(text)
    except ValueError:
        return 0
    return 0 if getattr(found, "scope_id", None) else found.version
