"""What a node must be told to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.node.names import Resolver
from pilothouse.node.refuse import Abilities
from pilothouse.node.settings import Settings
from pilothouse.node.volumes.layout import Layout

WORKERS = 16
"""Pods worked on at once; beyond what two cores can start, more only wait on one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A node's name, address, directories and what it tells its pods."""

    name: str
    address: str
    data_dir: Path
    containerd_socket: Path
    cgroup_root: str
    """The group all pods run below, as in `/pilothouse-1a2b3c4d`."""
    cgroup_filesystem: Path = Path("/sys/fs/cgroup")
    cluster_dns: str = ""
    domain: str = "cluster.local"
    port: int = 10250
    """Of the node's own API; written into the Node object."""
    host_resolver: Resolver | None = None
    """The resolver configuration pods inherit; None reads the host's /etc/resolv.conf."""
    abilities: Abilities = field(default_factory=Abilities)
    labels: dict[str, str] = field(default_factory=dict)
    """Added to the Node object at registration."""
    eviction_period: float = 10.0
    """Seconds between looks at what runs short."""
    settings: Settings = field(default_factory=Settings)
    workers: int = WORKERS
    version: str = "v1.35.0"
    """The kubelet API level reported in `nodeInfo.kubeletVersion`."""

    more_addresses: tuple[str, ...] = ()
    """The node's addresses of other families than `address`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.address, *self.more_addresses)

    @property
    def layout(self) -> Layout:
        return Layout(self.data_dir)

    @property
    def certs_dir(self) -> Path:
        """Where mirrors of registries are configured, a folder for each host."""
        return self.data_dir / "containerd" / "certs.d"

    @property
    def images_dir(self) -> Path:
        """Where containerd keeps images and the containers' own layers."""
        return self.data_dir / "containerd" / "root"

    @property
    def volumes_dir(self) -> Path:
        """Where local persistent volumes are made."""
        return self.data_dir / "volumes"

    @property
    def static_pods_dir(self) -> Path:
        """Manifests of pods that this node runs of its own accord."""
        return Path(self.settings.static_pod_path) if self.settings.static_pod_path else self.data_dir / "static-pods"

    @property
    def seccomp_dir(self) -> Path:
        return self.data_dir / "seccomp"
