"""IP families: IPv4 and IPv6, and the ranges of a cluster that has one of them or both. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

IPV4 = "IPv4"
IPV6 = "IPv6"
FAMILIES = (IPV4, IPV6)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def family_of(text: str) -> str:
    """The family of an address or range in the usual notation."""
    return IPV6 if ":" in text else IPV4


def other_family(family: str) -> str:
    return IPV4 if family == IPV6 else IPV6


def canonical(text: str) -> str:
    """An address in its one canonical notation (RFC 5952 for IPv6); what is no address stays as it is."""
    if ":" not in text:
        return text
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return text


def networks_of(ranges: str) -> tuple[Network, ...]:
    """The networks of a list such as `10.96.0.0/16,fd00:10:96::/112`. Raises ValueError for one that is none."""
    return tuple(ipaddress.ip_network(text.strip()) for text in ranges.split(","))


def families_of(networks: Iterable[Network]) -> tuple[str, ...]:
    """The families of networks, each once, the first one's first."""
    return tuple(dict.fromkeys(IPV4 if network.version == 4 else IPV6 for network in networks))
