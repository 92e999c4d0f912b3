"""The network's settings, from the machine's configuration."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from pilothouse.launch.config import Config
from pilothouse.network.config import NetworkConfig


def network_config(config: Config) -> NetworkConfig:
    """What the network room is handed."""
    return NetworkConfig(
        node_name=config.node_name,
        node_address=IPv4Address(config.node_address),
        pod_range=IPv4Network(config.pod_range),
        service_range=IPv4Network(config.service_range),
        dns_address=IPv4Address(config.dns_address),
        state_dir=config.path("network"),
        cni_conf_dir=config.path("cni", "net.d"),
        ipam_dir=config.path("cni", "ipam"),
    )
