"""IP addresses and networks. Source: Kubernetes `library/ip.go` and `library/cidr.go`."""

from __future__ import annotations

import ipaddress
from math import ceil
from typing import Any

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import Opaque

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Ip(Opaque):
    """An address."""

    __slots__ = ("address",)
    TYPE = "net.IP"

    def __init__(self, address: _Address) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ip) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)


class Cidr(Opaque):
    """An address with the length of a network's prefix."""

    __slots__ = ("address", "network")
    TYPE = "net.CIDR"

    def __init__(self, address: _Address, network: _Network) -> None:
        self.address = address
        self.network = network

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and (other.address, other.network) == (self.address, self.network)

    def __hash__(self) -> int:
        return hash((self.address, self.network))


def parse_ip(text: str) -> _Address:
    """Raises ValueError with upstream's reason."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f'IP Address "{text}" parse error during conversion from string') from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None or "%" in text:
            raise ValueError(f'IP address "{text}" with zone value is not allowed')
        if address.ipv4_mapped is not None:
            raise ValueError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return address


def parse_cidr(text: str) -> Cidr:
    """Raises ValueError with upstream's reason."""
    host, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit() or (len(length) > 1 and length[0] == "0"):
        raise ValueError("network address parse error during conversion from string: netip.ParsePrefix")
    try:
        address = parse_ip(host)
        return Cidr(address, ipaddress.ip_network((host, int(length)), strict=False))
    except ValueError as error:
        raise ValueError(f"network address parse error during conversion from string: {error}") from None


@function(":ip(string) -> IP", cost=costs.traverse)
def _(budget: Budget, text: str) -> Ip:
    try:
        return Ip(parse_ip(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


@function(":isIP(string) -> bool", cost=costs.traverse)
def _(budget: Budget, text: str) -> bool:
    return _parses(parse_ip, text)


@function(":ip.isCanonical(string) -> bool", cost=costs.traverse_twice)
def _(budget: Budget, text: str) -> bool:
    try:
        return str(parse_ip(text)) == text
    except ValueError as error:
        raise EvaluationError(str(error)) from None


@function(":string(IP) -> string", cost=costs.traverse)
def _(budget: Budget, value: Ip) -> str:
    return str(value.address)


@function("IP.family() -> int")
def _(budget: Budget, value: Ip) -> int:
    return value.address.version


@function("IP.isUnspecified() -> bool")
def _(budget: Budget, value: Ip) -> bool:
    return value.address.is_unspecified


@function("IP.isLoopback() -> bool")
def _(budget: Budget, value: Ip) -> bool:
    return value.address.is_loopback


def _link_local_multicast(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.ip_network("224.0.0.0/24")
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 2


@function("IP.isLinkLocalMulticast() -> bool")
def _(budget: Budget, value: Ip) -> bool:
    return _link_local_multicast(value.address)


@function("IP.isLinkLocalUnicast() -> bool")
def _(budget: Budget, value: Ip) -> bool:
    return value.address.is_link_local


@function("IP.isGlobalUnicast() -> bool")
def _(budget: Budget, value: Ip) -> bool:
    address = value.address
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not special and str(address) != "255.255.255.255"


@function(":cidr(string) -> CIDR", cost=costs.traverse)
def _(budget: Budget, text: str) -> Cidr:
    try:
        return parse_cidr(text)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


@function(":isCIDR(string) -> bool", cost=costs.traverse)
def _(budget: Budget, text: str) -> bool:
    return _parses(parse_cidr, text)


@function(":string(CIDR) -> string", cost=costs.traverse)
def _(budget: Budget, value: Cidr) -> str:
    return f"{value.address}/{value.network.prefixlen}"


@function("CIDR.ip() -> IP")
def _(budget: Budget, value: Cidr) -> Ip:
    return Ip(value.address)


@function("CIDR.masked() -> CIDR")
def _(budget: Budget, value: Cidr) -> Cidr:
    return Cidr(value.network.network_address, value.network)


@function("CIDR.prefixLength() -> int")
def _(budget: Budget, value: Cidr) -> int:
    return value.network.prefixlen


def _prefix_bytes(value: Cidr) -> int:
    """The size upstream gives a network."""
    return ceil(value.network.prefixlen / 8)


def _containing_cost(value: Cidr, other: Any) -> int:
    cost = ceil(2 * _prefix_bytes(value) * costs.TRAVERSAL)
    return cost + (costs.traverse(other) if isinstance(other, str) else 0)


def _containing_network_cost(value: Cidr, other: Any) -> int:
    return _containing_cost(value, other) + ceil(_prefix_bytes(value) * costs.TRAVERSAL) + 1


def _contains_ip(value: Cidr, address: _Address) -> bool:
    return address.version == value.network.version and address in value.network


def _contains_network(value: Cidr, other: Cidr) -> bool:
    return _contains_ip(value, other.address) and other.network.prefixlen >= value.network.prefixlen


@function("CIDR.containsIP(IP) -> bool", cost=_containing_cost)
def _(budget: Budget, value: Cidr, other: Ip) -> bool:
    return _contains_ip(value, other.address)


@function("CIDR.containsIP(string) -> bool", cost=_containing_cost)
def _(budget: Budget, value: Cidr, other: str) -> bool:
    try:
        return _contains_ip(value, parse_ip(other))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


@function("CIDR.containsCIDR(CIDR) -> bool", cost=_containing_network_cost)
def _(budget: Budget, value: Cidr, other: Cidr) -> bool:
    return _contains_network(value, other)


@function("CIDR.containsCIDR(string) -> bool", cost=_containing_network_cost)
def _(budget: Budget, value: Cidr, other: str) -> bool:
    try:
        return _contains_network(value, parse_cidr(other))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _parses(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
