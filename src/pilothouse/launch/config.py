"""The configuration of one machine's engine: decided at the first `up`, kept in the data directory."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pilothouse.kinds.families import Network, families_of, networks_of
from pilothouse.node.settings import InvalidSettings, Settings

LAYOUT = 1
"""The version of the data directory's layout; another one is refused rather than guessed at."""

DEFAULT_DATA_DIR = "/var/lib/pilothouse"
API_PORT = 6443
NODE_PORT = 10250


class ConfigError(Exception):
    """A configuration that cannot be used; the message says what to do."""


class Config(msgspec.Struct, kw_only=True, omit_defaults=False):
    """What every process of the engine on this machine must know."""

    data_dir: str
    node_name: str
    node_address: str
    """Of the cluster's family; of the first one in a cluster with both."""
    api_port: int = API_PORT
    listen: list[str] = []
    """Addresses the API listens on; empty on a machine that only joined as a node."""
    other_address: str = ""
    """This machine's address of the second family in a cluster with both; empty where it has none."""
    node_port: int = NODE_PORT
    pod_range: str = "10.244.0.0/16"
    """One range, or one of each family: `10.244.0.0/16,fd00:10:244::/56`; so is `service_range`, in the same order."""
    service_range: str = "10.96.0.0/16"
    domain: str = "cluster.local"
    containerd: str = "/usr/bin/containerd"
    server: str = ""
    """The API's URL on another machine; empty on the machine that runs it."""
    without: list[str] = []
    """Parts of the control plane that others run in Pilothouse's place."""
    autoscaling_seconds: float = 15.0
    """How often autoscalers look at their metrics."""
    layout: int = LAYOUT
    node: Settings = Settings()
    """What is tuned on this machine's node: thresholds of eviction, reserves, limits."""

    @property
    def is_server(self) -> bool:
        return not self.server

    @property
    def api_url(self) -> str:
        return self.server or f"https://127.0.0.1:{self.api_port}"

    @property
    def kubernetes_service(self) -> str:
        """The `kubernetes` Service's address: the first of the service range."""
        return str(networks_of(self.service_range)[0][1])

    @property
    def dns_address(self) -> str:
        """The cluster DNS address: the tenth of the service range."""
        return str(networks_of(self.service_range)[0][10])

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of IP that the cluster has, the first one first."""
        return tuple(network.version for network in networks_of(self.pod_range))

    @property
    def cgroup_root(self) -> str:
        """The cgroup below which all pods of this data directory run."""
        return "/pilothouse-" + hashlib.sha256(os.path.realpath(self.data_dir).encode()).hexdigest()[:8]

    def path(self, *parts: str) -> Path:
        return Path(self.data_dir, *parts)

    @property
    def containerd_socket(self) -> str:
        return str(self.path("containerd", "containerd.sock"))

    def save(self) -> None:
        """Writes D/config.json atomically."""
        path = self.path("config.json")
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        os.replace(fresh, path)


def load(data_dir: str) -> Config | None:
    """The kept configuration, None where there is none yet. Raises ConfigError for another layout or a broken file."""
    path = Path(data_dir, "config.json")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        tree = msgspec.json.decode(data, type=dict)
        layout = tree.get("layout")
        if layout != LAYOUT:
            raise ConfigError(
                f"{data_dir} was written by another version of Pilothouse (layout {layout}, this one writes {LAYOUT}): "
                "run that version, or choose another --data-dir"
            )
        tree.setdefault("other_address", tree.pop("node_ipv6", ""))  # its name before IPv6 could be first
        config = msgspec.convert(tree, Config)
        config.node.check()
        if config.node.csi_root_dir and Path(config.node.csi_root_dir) == Path(data_dir):
            raise InvalidSettings("csi_root_dir must not be the data directory: D/kubelet is fine")
        return config
    except InvalidSettings as error:
        raise ConfigError(f"{path}: node: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} cannot be read ({error}): mend it or restore it from a copy") from error


def default_node_name() -> str:
    """The host's name in lower case with what Kubernetes does not allow replaced."""
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname().lower()).strip("-.")
    return name or "node"


def check_ranges(config: Config, routes: Sequence[tuple[Network, str]]) -> None:
    """Refuses ranges that do not parse, are no pair, overlap one another, or overlap a route the host already has."""
    pods, services = _ranges("--pod-range", config.pod_range), _ranges("--service-range", config.service_range)
    if families_of(pods) != families_of(services):
        raise ConfigError(
            f"--pod-range {config.pod_range} and --service-range {config.service_range} are not of the same families: "
            "give both one of the same family, or both one of each in the same order"
        )
    for pod_range, service_range in zip(pods, services, strict=True):
        _check_pair(pod_range, service_range)
        for route, interface in routes:
            for option, wanted in (("--pod-range", pod_range), ("--service-range", service_range)):
                if wanted.overlaps(route):
                    if wanted.version == 4:
                        other = f"10.{(int(wanted.network_address) >> 16 & 255) ^ 5}.0.0/16"
                    else:
                        other = f"fd00:10:{int(wanted.network_address) >> 80 & 0xFF ^ 5:x}::/{wanted.prefixlen}"
                    raise ConfigError(
                        f"{option} {wanted} overlaps {route}, which this host reaches through {interface}: "
                        f"choose another {option}, for example {other}"
                    )


def _ranges(option: str, text: str) -> tuple[Network, ...]:
    """The ranges of an option. Raises ConfigError unless they are one, or one of each family."""
    try:
        found = networks_of(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} must be a range such as 10.244.0.0/16 or fd00:10:244::/56, or one of each with a comma between "
            f"them: {error}"
        ) from error
    versions = [network.version for network in found]
    if len(set(versions)) < len(versions):
        raise ConfigError(
            f"{option} {text}: write one range, or one of IPv4 and one of IPv6 with a comma between them; Services and "
            "pods get addresses of the first unless they ask for both"
        )
    for network in found:
        if network.is_link_local or network.is_multicast or network.is_loopback or network.is_unspecified:
            raise ConfigError(f"{option} {network} is not for hosts: choose one such as fd00:10:244::/56")
    return found


def _check_pair(pods: Network, services: Network) -> None:
    if pods.version == 4 and pods.prefixlen > 22:
        raise ConfigError(f"--pod-range {pods} is too small: every node takes a /24 of it; use /22 or larger")
    if pods.version == 6 and not 48 <= pods.prefixlen <= 62:
        raise ConfigError(f"--pod-range {pods}: every node takes a /64 of it; use /48 to /62, for example a /56")
    if services.version == 4 and services.prefixlen > 24:
        raise ConfigError(f"--service-range {services} is too small: use /24 or larger")
    if services.version == 6 and not 64 <= services.prefixlen <= 120:
        raise ConfigError(f"--service-range {services}: use /64 to /120, for example a /112")
    if pods.overlaps(services):
        raise ConfigError(f"--pod-range {pods} and --service-range {services} overlap: choose two that do not")
