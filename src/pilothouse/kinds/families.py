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


def join_host_port(host: str, port: int) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(text: str) -> tuple[str, str]:
    """The host and the port, "" for none, of `host`, `host:port`, `fd00::1`, `[fd00::1]` or `[fd00::1]:port`."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def networks_of(ranges: str) -> tuple[Network, ...]:
    """The networks of a list such as `10.96.0.0/16,fd00:10:96::/112`. Raises ValueError for one that is none."""
    return tuple(ipaddress.ip_network(text.strip()) for text in ranges.split(","))


def families_of(networks: Iterable[Network]) -> tuple[str, ...]:
    """The families of networks, each once, the first one's first."""
    return tuple(dict.fromkeys(IPV4 if network.version == 4 else IPV6 for network in networks))
