"""Undoing the network for `down --purge`: only what bears Pilothouse's names or marks, any number of times."""

from __future__ import annotations

from pilothouse.linux import sysctl
from pilothouse.linux.netlink import ROUTE_PROTOCOL, Route, RouteSocket
from pilothouse.linux.nftables import Nftables
from pilothouse.network.config import NetworkConfig, Ranges
from pilothouse.network.host import within


def tear_down(config: NetworkConfig) -> list[str]:
    """Gives the host its former network back, pods being gone. Returns what was removed, in words.

    Kernel parameters go first, since the table guards what one of them opens; the unreachable routes go last.
    """
    removed = [f"kernel parameter {name} restored" for name in sysctl.restore(config.saved_sysctls)]
    nftables = Nftables()
    for family in ("ip", "ip6"):
        if _has_table(nftables, family, config.table):
            nftables.run(f"delete table {family} {config.table}")
            removed.append(f"nftables table {config.table}" + (" (IPv6)" if family == "ip6" else ""))
    with RouteSocket() as routes:
        removed += _pod_devices(routes, config)
        for device in (config.tunnel, config.bridge):
            if routes.delete_link(device):
                removed.append(f"device {device}")
        for ranges in config.versions:
            for route in sorted(routes.routes(ranges.version), key=lambda route: route.metric):
                if route.protocol == ROUTE_PROTOCOL and _in_ranges(ranges, route):
                    routes.delete_route(route)
                    removed.append(f"route {route.destination}")
    return removed


def _has_table(nftables: Nftables, family: str, name: str) -> bool:
    tables = nftables.read(f"list tables {family}") or []
    return any(item.get("table", {}).get("name") == name for item in tables)


def _pod_devices(routes: RouteSocket, config: NetworkConfig) -> list[str]:
    """Removes host ends of pods' links that were left behind: veth devices with an address of the pod range."""
    links = {link.index: link for link in routes.links()}
    left = {
        links[index].name
        for ranges in config.versions
        for index, address in routes.addresses(ranges.version)
        if index in links and links[index].kind == "veth" and address.ip in ranges.pod_range
    }
    return [f"device {name}" for name in sorted(left) if routes.delete_link(name)]


def _in_ranges(ranges: Ranges, route: Route) -> bool:
    return any(within(route.destination, network) for network in (ranges.pod_range, ranges.service_range))
