"""The host's part of the network: routes that keep pod and service ranges in, the service device, kernel parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from pathlib import Path
from typing import NamedTuple

from pilothouse.linux import sysctl
from pilothouse.linux.netlink import ROUTE_PROTOCOL, Address, Link, Network, Route, RouteSocket, Version
from pilothouse.network.base import VXLAN_PORT
from pilothouse.network.config import NetworkConfig, Ranges

UNREACHABLE_METRIC = 9999
_IPV4_SYSCTLS = {
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
VXLAN_OVERHEAD = {4: 50, 6: 70}
"""Bytes that a tunnel adds to each packet, by the version of IP between the nodes."""


class NodeRoutes(NamedTuple):
    """`problems`: what cannot be reached, in words. `tunnelled`: some node is reached by a tunnel."""

    problems: list[str]
    tunnelled: bool


class Place(NamedTuple):
    """A node's pod range of one version of IP, and its address; None while it has none of that version."""

    pods: Network
    address: Address | None


Places = Sequence[Place]
"""Those of one node: that of the cluster's first version of IP first, which has an address."""
Present = Mapping[int, Mapping[Network, Route]]
"""The routes to other nodes' pods that are there, by version of IP and destination."""


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
    if config.has(4):
        sysctl.apply(_IPV4_SYSCTLS, config.saved_sysctls)
    if config.has(6):
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
    config: NetworkConfig, nodes: Sequence[Places], own: Mapping[int, Network] | None = None
) -> NodeRoutes:
    """Routes other nodes' pod ranges through their addresses, and removes such routes of nodes that are gone.

    `own` are this node's ranges by version of IP. A node that shares no segment with this one is reached by a VXLAN
    tunnel between the nodes' first addresses, which carries both versions and ends at the first address of each own
    range.
    """
    with RouteSocket() as routes:
        present: Present = {ranges.version: _present(routes, ranges) for ranges in config.versions}
        wanted = {place.pods for places in nodes for place in places}
        for found in present.values():
            for destination, route in found.items():
                if destination not in wanted:
                    routes.delete_route(route)
        far: list[Places] = []
        problems: list[str] = []
        for places in nodes:
            try:
                _lead(routes, present, places[0])
            except OSError:
                far.append(places)
            else:
                problems += _lead_beside(routes, present, places[1:])
        problems += _put_tunnels(routes, config, present, far, own or {})
        return NodeRoutes(problems, bool(far))


def _present(routes: RouteSocket, ranges: Ranges) -> dict[Network, Route]:
    return {route.destination: route for route in routes.routes(ranges.version) if is_node_route(ranges, route)}


def _lead(routes: RouteSocket, present: Present, place: Place) -> None:
    """A route to a node's pods through its address. Raises OSError where that is on no segment of this node."""
    there = present[place.pods.version].get(place.pods)
    if there is None or there.gateway != place.address or there.on_link:
        _put(routes, there, Route(place.pods, gateway=place.address))


def _put(routes: RouteSocket, there: Route | None, route: Route) -> None:
    routes.put_route(route)
    if there is not None and there.gateway != route.gateway and route.destination.version == 6:
        routes.delete_route(there)  # of IPv6 the new one may have come beside it


def _lead_beside(routes: RouteSocket, present: Present, places: Places) -> list[str]:
    """Routes by the second version of IP to a node that the first one reaches directly; what cannot be, in words."""
    problems = []
    for place in places:
        if place.address is None:
            lack = f"their node has no IPv{place.pods.version} address (--node-address)"
            problems.append(f"pods in {place.pods} cannot be reached: {lack}")
            continue
        try:
            _lead(routes, present, place)
        except OSError as error:
            problems.append(_cut_off(place, error))
    return problems


def _cut_off(place: Place, error: OSError) -> str:
    return f"pods in {place.pods} cannot be reached: no way to node address {place.address} ({error})"


def _put_tunnels(
    routes: RouteSocket, config: NetworkConfig, present: Present, far: Sequence[Places], own: Mapping[int, Network]
) -> list[str]:
    """What cannot be reached even so, in words. Each node's tunnel end has the first address of its pod ranges.

    Entries of nodes that are gone stay in the device: they name hardware addresses that nothing is sent to.
    """
    here = config.node_address
    if not far or here.version not in own:
        routes.delete_link(config.tunnel)
        return []
    try:
        tunnel = routes.add_vxlan(config.tunnel, VXLAN_ID, here, VXLAN_PORT, hardware_address(here))
        routes.set_mtu(tunnel, default_mtu(here.version) - VXLAN_OVERHEAD[here.version])
        routes.set_up(tunnel)
        for network in own.values():
            routes.add_address(tunnel, ip_interface(network.network_address))
    except OSError as error:
        return [_cut_off(places[0], error) for places in far]
    problems = []
    for places in far:
        behind = places[0].address
        assert behind is not None
        for place in places:
            version, end = place.pods.version, place.pods.network_address
            if version not in own:
                continue
            source = own[version].network_address
            route = Route(place.pods, device=tunnel.index, gateway=end, source=source, on_link=True)
            try:
                routes.put_neighbour(tunnel, end, hardware_address(behind), behind)
                _put(routes, present[version].get(place.pods), route)
            except OSError as error:
                problems.append(f"pods in {place.pods} cannot be reached: no tunnel to node address {behind} ({error})")
    return problems


def hardware_address(node_address: Address) -> bytes:
    """The hardware address of a node's tunnel end: every node knows it from the node's address."""
    if node_address.version == 4:
        return b"\x0e\x50" + node_address.packed
    # Five bytes of a digest: that two of a thousand nodes have the same is less likely than one in a million.
    return b"\x0e" + hashlib.sha256(node_address.packed).digest()[:5]


def is_node_route(ranges: Ranges, route: Route) -> bool:
    """Whether a route is one that leads to another node's pods."""
    own = route.protocol == ROUTE_PROTOCOL
    return own and route.gateway is not None and within(route.destination, ranges.pod_range)


def default_mtu(version: Version = 4) -> int:
    """The MTU of the device of that version's default route, 1500 where there is none."""
    with RouteSocket() as routes:
        devices = [
            route.device
            for route in sorted(routes.routes(version), key=lambda r: r.metric)
            if not route.destination.prefixlen and route.device and route.kind == "unicast"
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
