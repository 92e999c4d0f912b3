"""The network's settings, from the machine's configuration."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pilothouse.kinds.families import networks_of
from pilothouse.launch.config import Config
from pilothouse.linux.host import has_ipv6
from pilothouse.network.config import NetworkConfig, Ranges


def network_config(config: Config) -> NetworkConfig:
    """What the network room is handed. A host that lacks IPv6 takes part in a cluster of both families by IPv4."""
    pods, services = networks_of(config.pod_range), networks_of(config.service_range)
    ipv6 = None
    if len(pods) > 1 and has_ipv6():
        address = IPv6Address(config.node_ipv6) if config.node_ipv6 else None
        ipv6 = Ranges(6, address, IPv6Network(pods[1]), IPv6Network(services[1]))
    return NetworkConfig(
        node_name=config.node_name,
        node_address=IPv4Address(config.node_address),
        pod_range=IPv4Network(pods[0]),
        service_range=IPv4Network(services[0]),
        dns_address=IPv4Address(config.dns_address),
        state_dir=config.path("network"),
        cni_conf_dir=config.path("cni", "net.d"),
        ipam_dir=config.path("cni", "ipam"),
        ipv6=ipv6,
    )
