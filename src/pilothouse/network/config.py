"""The settings of a node's network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

from pilothouse.network.facts import NodeFacts

BRIDGE = "pilothouse0"
"""The host device that holds the DNS address and the service range's route."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a node knows of one version of IP. Without `node_address` nothing outside reaches the node by it; without
    `dns_address` cluster DNS does not answer by it."""

    version: Literal[4, 6]
    node_address: IPv4Address | IPv6Address | None
    pod_range: IPv4Network | IPv6Network
    service_range: IPv4Network | IPv6Network
    dns_address: IPv4Address | IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What `launch` decides. Ranges are the whole cluster's; a node's own pod ranges come from its Node object.

    `versions` are those that the cluster has and this host too, the cluster's first one first: cluster DNS answers by
    it, and nodes reach each other by it. `state_dir` keeps the old values of changed kernel parameters. `table`,
    `bridge` and `tunnel` name the nftables table, the host device, and the device of tunnels to nodes elsewhere.
    """

    node_name: str
    versions: tuple[Ranges, ...]
    state_dir: Path
    cni_conf_dir: Path
    ipam_dir: Path
    bridge: str = BRIDGE
    table: str = "pilothouse"
    tunnel: str = "pilothouse1"

    @property
    def first(self) -> Ranges:
        return self.versions[0]

    @property
    def node_address(self) -> IPv4Address | IPv6Address:
        """The one by which other nodes reach this one. Raises ValueError where there is none."""
        if self.first.node_address is None:
            raise ValueError("a node needs an address of the cluster's first version of IP")
        return self.first.node_address

    def has(self, version: int) -> bool:
        return any(ranges.version == version for ranges in self.versions)

    def facts_of(self, ranges: Ranges) -> NodeFacts:
        """What rules need to know of the node, for one version of IP."""
        own = (str(ranges.node_address),) if ranges.node_address is not None else ()
        return NodeFacts(
            node_name=self.node_name,
            addresses=(*own, "127.0.0.1") if ranges.version == 4 else own,
            pod_range=str(ranges.pod_range),
            service_range=str(ranges.service_range),
            dns_address=str(ranges.dns_address) if ranges.dns_address is not None else "",
            version=ranges.version,
        )

    @property
    def saved_sysctls(self) -> Path:
        return self.state_dir / "sysctls.json"
