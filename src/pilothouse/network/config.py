"""The settings of a node's network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pilothouse.network.facts import NodeFacts

BRIDGE = "pilothouse0"
"""The host device that holds the DNS address and the service range's route."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What `launch` decides. Ranges are the whole cluster's; a node's own pod range comes from its Node object.

    `state_dir` keeps the old values of changed kernel parameters. `table`, `bridge` and `tunnel` name the nftables
    table, the host device, and the device of tunnels to nodes on other segments.
    """

    node_name: str
    node_address: IPv4Address
    pod_range: IPv4Network
    service_range: IPv4Network
    dns_address: IPv4Address
    state_dir: Path
    cni_conf_dir: Path
    ipam_dir: Path
    bridge: str = BRIDGE
    table: str = "pilothouse"
    tunnel: str = "pilothouse1"

    @property
    def facts(self) -> NodeFacts:
        return NodeFacts(
            node_name=self.node_name,
            addresses=(str(self.node_address), "127.0.0.1"),
            pod_range=str(self.pod_range),
            service_range=str(self.service_range),
            dns_address=str(self.dns_address),
        )

    @property
    def saved_sysctls(self) -> Path:
        return self.state_dir / "sysctls.json"
