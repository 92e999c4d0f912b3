"""The network's settings, from the machine's configuration."""

from __future__ import annotations

from ipaddress import ip_address

from pilothouse.kinds.families import networks_of
from pilothouse.launch.config import Config
from pilothouse.linux.host import has_ipv6
from pilothouse.network.config import NetworkConfig, Ranges


def network_config(config: Config) -> NetworkConfig:
    """What the network room is handed. A host that lacks IPv6 takes part in a cluster of both families by IPv4."""
    pods, services = networks_of(config.pod_range), networks_of(config.service_range)
    addresses = (config.node_address, config.other_address)
    names = (config.dns_address, "")
    versions = [
        Ranges(
            version=pods_.version,
            node_address=ip_address(address) if address else None,
            pod_range=pods_,
            service_range=services_,
            dns_address=ip_address(dns) if dns else None,
        )
        for pods_, services_, address, dns in zip(pods, services, addresses, names)
    ]
    return NetworkConfig(
        node_name=config.node_name,
        versions=tuple(ranges for ranges in versions if ranges.version == 4 or has_ipv6()),
        state_dir=config.path("network"),
        cni_conf_dir=config.path("cni", "net.d"),
        ipam_dir=config.path("cni", "ipam"),
    )
