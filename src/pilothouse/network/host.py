"""The host's part of the network: routes that keep pod and service ranges in, the service device, kernel parameters."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple

from pilothouse.linux import sysctl
from pilothouse.linux.netlink import ROUTE_PROTOCOL, Link, Route, RouteSocket
from pilothouse.network.base import VXLAN_PORT
from pilothouse.network.config import NetworkConfig

UNREACHABLE_METRIC = 9999
_DEFAULT = IPv4Network("0.0.0.0/0")
_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    # For 127.0.0.1:NODEPORT; the table's chain `guard` keeps others from reaching 127.0.0.0/8 through it.
    "net.ipv4.conf.all.route_localnet": "1",
}


VXLAN_ID = 80
VXLAN_OVERHEAD = 50
"""Bytes that a tunnel adds to each packet (IPv4)."""


class NodeRoutes(NamedTuple):
    """`problems`: what cannot be reached, in words. `tunnelled`: some node is reached by a tunnel."""

    problems: list[str]
    tunnelled: bool


class RangeInUse(Exception):
    """A range asked for is one that the host already uses."""


class AddressMissing(Exception):
    """The node's address is not one of this host's."""


def keep_ranges_in(config: NetworkConfig) -> None:
    """Refuses, for good, packets for pod and service addresses that nothing more exact routes. The very first step.

    Raises RangeInUse when a range overlaps one that the host reaches by another way, AddressMissing when the
    node's address is not one of this host.
    """
    with RouteSocket() as routes:
        if config.node_address not in {address.ip for _, address in routes.addresses()}:
            raise AddressMissing(
                f"no network device of this host has the address {config.node_address};"
                " name one that `ip address` shows with --node-address"
            )
        links = {link.index: link for link in routes.links()}
        foreign = [route for route in routes.routes() if not _ours(config, route, links.get(route.device))]
        for network in (config.pod_range, config.service_range):
            for route in foreign:
                if _collides(network, route):
                    raise RangeInUse(
                        f"the range {network} overlaps {route.destination}, which this host already uses;"
                        " choose another one with --pod-range or --service-range"
                    )
            routes.put_route(Route(network, "unreachable", metric=UNREACHABLE_METRIC))


def _ours(config: NetworkConfig, route: Route, link: Link | None) -> bool:
    """Routes that bear the mark, the service device's, and those of single pods, which the CNI plugin makes."""
    if route.protocol == ROUTE_PROTOCOL or (link is not None and link.name == config.bridge):
        return True
    return link is not None and link.kind == "veth" and route.destination.prefixlen == 32


def _collides(network: IPv4Network, route: Route) -> bool:
    """A wider route through a router is no collision: a more exact one may lie over it. Nor is a refusal of the range
    that all of ours outweigh: that is how careful hosts keep such packets in."""
    if route.kind == "unreachable" and network.subnet_of(route.destination):
        return route.metric <= UNREACHABLE_METRIC
    inside = route.destination.subnet_of(network)
    return inside or (network.subnet_of(route.destination) and route.gateway is None and route.destination != _DEFAULT)


def make_service_device(config: NetworkConfig) -> None:
    """A bridge without ports that holds the DNS address and gives host processes a route to services.

    A packet that no rule translates is refused by the table before it could get here.
    """
    with RouteSocket() as routes:
        bridge = routes.add_bridge(config.bridge)
        routes.set_up(bridge)
        routes.add_address(bridge, IPv4Interface(f"{config.dns_address}/32"))
        routes.put_route(Route(config.service_range, device=bridge.index, source=config.node_address))


def set_parameters(config: NetworkConfig) -> None:
    """Sets kernel parameters, once the table guards what they open; old values are kept for `down --purge`."""
    sysctl.apply(_SYSCTLS, config.saved_sysctls)


def put_node_routes(
    config: NetworkConfig, wanted: dict[IPv4Network, IPv4Address], own: IPv4Network | None = None
) -> NodeRoutes:
    """Routes other nodes' pod ranges through their addresses, and removes such routes of nodes that are gone.

    A node that shares no segment with this one is reached by a VXLAN tunnel, whose end here is named after this node's
    `own` pod range.
    """
    with RouteSocket() as routes:
        present = {route.destination: route for route in routes.routes() if is_node_route(config, route)}
        for destination, route in present.items():
            if destination not in wanted:
                routes.delete_route(route)
        far: dict[IPv4Network, IPv4Address] = {}
        for destination, gateway in wanted.items():
            there = present.get(destination)
            if there is not None and there.gateway == gateway and not there.on_link:
                continue
            try:
                routes.put_route(Route(destination, gateway=gateway))
            except OSError:
                far[destination] = gateway
        return NodeRoutes(_put_tunnels(routes, config, far, own), bool(far))


def _put_tunnels(
    routes: RouteSocket, config: NetworkConfig, far: dict[IPv4Network, IPv4Address], own: IPv4Network | None
) -> list[str]:
    """What cannot be reached even so, in words. Each node's tunnel end has the first address of its pod range.

    Entries of nodes that are gone stay in the device: they name hardware addresses that nothing is sent to.
    """
    if not far or own is None:
        routes.delete_link(config.tunnel)
        return []
    try:
        tunnel = routes.add_vxlan(
            config.tunnel, VXLAN_ID, config.node_address, VXLAN_PORT, hardware_address(config.node_address)
        )
        routes.set_mtu(tunnel, default_mtu() - VXLAN_OVERHEAD)
        routes.set_up(tunnel)
        routes.add_address(tunnel, IPv4Interface(f"{own.network_address}/32"))
    except OSError as error:
        return [f"pods in {where} cannot be reached: no way to node address {far[where]} ({error})" for where in far]
    problems = []
    for destination, gateway in far.items():
        end = destination.network_address
        try:
            routes.put_neighbour(tunnel, end, hardware_address(gateway), gateway)
            routes.put_route(
                Route(destination, device=tunnel.index, gateway=end, source=own.network_address, on_link=True)
            )
        except OSError as error:
            problems.append(f"pods in {destination} cannot be reached: no tunnel to node address {gateway} ({error})")
    return problems


def hardware_address(node_address: IPv4Address) -> bytes:
    """The hardware address of a node's tunnel end: every node knows it from the node's address."""
    return b"\x0e\x50" + node_address.packed


def is_node_route(config: NetworkConfig, route: Route) -> bool:
    """Whether a route is one that leads to another node's pods."""
    own = route.protocol == ROUTE_PROTOCOL
    return own and route.gateway is not None and route.destination.subnet_of(config.pod_range)


def default_mtu() -> int:
    """The MTU of the device of the default route, 1500 where there is none."""
    with RouteSocket() as routes:
        devices = [
            route.device
            for route in sorted(routes.routes(), key=lambda r: r.metric)
            if route.destination == _DEFAULT and route.device
        ]
        links = {link.index: link for link in routes.links()}
    return next((links[device].mtu for device in devices if device in links), 1500)


def node_addresses(config: NetworkConfig) -> tuple[str, ...]:
    """The addresses at which node ports and host ports answer, the node's own first: all but those of the cluster's
    ranges (cluster DNS, gateways of pods) and, of loopback's, 127.0.0.1 alone."""
    own = {address for address in map(IPv4Address, own_addresses()) if not address.is_loopback}
    others = {a for a in own if a not in config.pod_range and a not in config.service_range} - {config.node_address}
    return (str(config.node_address), *(str(address) for address in sorted(others)), "127.0.0.1")


def own_addresses() -> set[str]:
    """Every IPv4 address of this host."""
    with RouteSocket() as routes:
        return {str(address.ip) for _, address in routes.addresses()}
