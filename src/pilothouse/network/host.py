"""The host's part of the network: routes that keep pod and service ranges in, the service device, kernel parameters."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network, ip_address, ip_interface
from pathlib import Path
from typing import NamedTuple

from pilothouse.linux import sysctl
from pilothouse.linux.netlink import ROUTE_PROTOCOL, Address, Link, Network, Route, RouteSocket
from pilothouse.network.base import VXLAN_PORT
from pilothouse.network.config import NetworkConfig, Ranges

UNREACHABLE_METRIC = 9999
_DEFAULT = IPv4Network("0.0.0.0/0")
_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    # For 127.0.0.1:NODEPORT; the table's chain `guard` keeps others from reaching 127.0.0.0/8 through it.
    "net.ipv4.conf.all.route_localnet": "1",
}
_IPV6_CONF = Path("/proc/sys/net/ipv6/conf")
_IPV6_SYSCTLS = {
    # A pod's address is handed out once, so nobody else can have it; looking for such (two seconds, in which the
    # address cannot be used) is left out for devices that are made from now on, in pods too.
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.dad_transmits": "0",
    "net.core.devconf_inherit_init_net": "1",
    "net.ipv6.conf.all.forwarding": "1",
}


VXLAN_ID = 80
VXLAN_OVERHEAD = 50
"""Bytes that a tunnel adds to each packet (IPv4)."""


class NodeRoutes(NamedTuple):
    """`problems`: what cannot be reached, in words. `tunnelled`: some node is reached by a tunnel."""

    problems: list[str]
    tunnelled: bool


class Place(NamedTuple):
    """A node's pod range of one version of IP, and its address; None while it has none of that version."""

    pods: Network
    address: Address | None


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
        links = {link.index: link for link in routes.links()}
        for ranges in config.versions:
            address = ranges.node_address
            if address is not None and address not in {found.ip for _, found in routes.addresses(ranges.version)}:
                raise AddressMissing(
                    f"no network device of this host has the address {address};"
                    " name one that `ip address` shows with --node-address"
                )
            present = routes.routes(ranges.version)
            foreign = [route for route in present if not _ours(config, route, links.get(route.device))]
            for network in (ranges.pod_range, ranges.service_range):
                for route in foreign:
                    if _collides(network, route):
                        raise RangeInUse(
                            f"the range {network} overlaps {route.destination}, which this host already uses;"
                            " choose another one with --pod-range or --service-range"
                        )
                routes.put_route(Route(network, "unreachable", metric=UNREACHABLE_METRIC))


def _ours(config: NetworkConfig, route: Route, link: Link | None) -> bool:
    """Routes that bear the mark, those of our devices, and those of single pods, which the CNI plugin makes."""
    if route.protocol == ROUTE_PROTOCOL or (link is not None and link.name in (config.bridge, config.tunnel)):
        return True
    single = route.destination.prefixlen == route.destination.max_prefixlen
    return link is not None and link.kind == "veth" and single


def within(part: Network, whole: Network) -> bool:
    """Whether a range lies in another one, of the same version of IP."""
    if isinstance(part, IPv4Network):
        return isinstance(whole, IPv4Network) and part.subnet_of(whole)
    return isinstance(whole, IPv6Network) and part.subnet_of(whole)


def _collides(network: Network, route: Route) -> bool:
    """A wider route through a router is no collision: a more exact one may lie over it. Nor is a refusal of the range
    that all of ours outweigh: that is how careful hosts keep such packets in."""
    if route.kind == "unreachable" and within(network, route.destination):
        return route.metric <= UNREACHABLE_METRIC
    inside, default = within(route.destination, network), not route.destination.prefixlen
    return inside or (within(network, route.destination) and route.gateway is None and not default)


def make_service_device(config: NetworkConfig) -> None:
    """A bridge without ports that holds the DNS address and gives host processes a route to services.

    A packet that no rule translates is refused by the table before it could get here.
    """
    with RouteSocket() as routes:
        bridge = routes.add_bridge(config.bridge)
        routes.set_up(bridge)
        for ranges in config.versions:
            if ranges.dns_address is not None:
                routes.add_address(bridge, ip_interface(ranges.dns_address))
            routes.put_route(Route(ranges.service_range, device=bridge.index, source=ranges.node_address))


def set_parameters(config: NetworkConfig) -> None:
    """Sets kernel parameters, once the table guards what they open; old values are kept for `down --purge`."""
    sysctl.apply(_SYSCTLS, config.saved_sysctls)
    if config.ipv6 is not None:
        sysctl.apply({**_accepted_advertisements(), **_IPV6_SYSCTLS}, config.saved_sysctls)


def _accepted_advertisements() -> dict[str, str]:
    """A host that forwards takes no address or route from router advertisements any more unless told so: where it
    does now, it is to go on. Source: the kernel's ip-sysctl, `accept_ra`."""
    names = sorted(path.name for path in _IPV6_CONF.iterdir() if path.name not in ("all", "default", "lo"))
    found = {}
    for name in names:
        path = f"net/ipv6/conf/{name}"
        if (sysctl.read(f"{path}/accept_ra"), sysctl.read(f"{path}/forwarding")) == ("1", "0"):
            found[f"{path}/accept_ra"] = "2"
    return found


def put_node_routes(
    config: NetworkConfig,
    wanted: dict[IPv4Network, IPv4Address],
    own: IPv4Network | None = None,
    beside: dict[IPv4Network, Place] | None = None,
    own_ipv6: Network | None = None,
) -> NodeRoutes:
    """Routes other nodes' pod ranges through their addresses, and removes such routes of nodes that are gone.

    A node that shares no segment with this one is reached by a VXLAN tunnel, whose end here is named after this node's
    `own` pod range. `beside` are the nodes' IPv6 places by their IPv4 range: the same tunnel carries both, with an
    end of `own_ipv6` too.
    """
    with RouteSocket() as routes:
        present = _present(routes, config.ipv4)
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
        problems = _put_tunnels(routes, config, far, own)
        if config.ipv6 is not None:
            problems += _put_ipv6(routes, config, config.ipv6, beside or {}, far, own_ipv6)
        return NodeRoutes(problems, bool(far))


def _present(routes: RouteSocket, ranges: Ranges) -> dict[Network, Route]:
    return {route.destination: route for route in routes.routes(ranges.version) if is_node_route(ranges, route)}


def _put_ipv6(
    routes: RouteSocket,
    config: NetworkConfig,
    ranges: Ranges,
    places: dict[IPv4Network, Place],
    far: dict[IPv4Network, IPv4Address],
    own: Network | None,
) -> list[str]:
    """Routes to other nodes' IPv6 ranges: through their IPv6 address, or by the tunnel where IPv4 takes it."""
    present = _present(routes, ranges)
    for destination in present.keys() - {place.pods for place in places.values()}:
        routes.delete_route(present[destination])
    tunnel = routes.link(config.tunnel) if far else None
    problems = []
    for beside, (pods, address) in places.items():
        try:
            if tunnel is not None and beside in far:
                end = pods.network_address
                source = own.network_address if own is not None else None
                if source is not None:
                    routes.add_address(tunnel, ip_interface(source))
                routes.put_neighbour(tunnel, end, hardware_address(far[beside]), far[beside])
                routes.put_route(Route(pods, device=tunnel.index, gateway=end, source=source, on_link=True))
            elif address is None:
                problems.append(f"pods in {pods} cannot be reached: their node has no IPv6 address (--node-address)")
            elif (there := present.get(pods)) is None or there.gateway != address or there.on_link:
                if there is not None:
                    routes.delete_route(there)
                routes.put_route(Route(pods, gateway=address))
        except OSError as error:
            problems.append(f"pods in {pods} cannot be reached: no way to node address {address} ({error})")
    return problems


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


def is_node_route(ranges: Ranges, route: Route) -> bool:
    """Whether a route is one that leads to another node's pods."""
    own = route.protocol == ROUTE_PROTOCOL
    return own and route.gateway is not None and within(route.destination, ranges.pod_range)


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


def node_addresses(config: NetworkConfig, ranges: Ranges) -> tuple[str, ...]:
    """The addresses at which node ports and host ports answer, the node's own first: all but those of the cluster's
    ranges (cluster DNS, gateways of pods), IPv6's of one link alone and, of loopback's, 127.0.0.1 alone."""
    found = {ip_address(text) for text in own_addresses(ranges)}
    others = {
        address
        for address in found
        if not address.is_loopback
        and not (ranges.version == 6 and address.is_link_local)
        and address not in ranges.pod_range
        and address not in ranges.service_range
    } - {ranges.node_address}
    first = (str(ranges.node_address),) if ranges.node_address is not None else ()
    local = ("127.0.0.1",) if ranges.version == 4 else ()
    return (*first, *(str(address) for address in sorted(others, key=int)), *local)


def own_addresses(ranges: Ranges) -> set[str]:
    """Every address of this host of that version of IP."""
    with RouteSocket() as routes:
        return {str(address.ip) for _, address in routes.addresses(ranges.version)}
