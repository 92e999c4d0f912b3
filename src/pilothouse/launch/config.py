"""The configuration of one machine's engine: decided at the first `up`, kept in the data directory."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
from pathlib import Path

import msgspec

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
    api_port: int = API_PORT
    listen: list[str] = []
    """Addresses the API listens on; empty on a machine that only joined as a node."""
    node_port: int = NODE_PORT
    pod_range: str = "10.244.0.0/16"
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
        return str(ipaddress.ip_network(self.service_range)[1])

    @property
    def dns_address(self) -> str:
        """The cluster DNS address: the tenth of the service range."""
        return str(ipaddress.ip_network(self.service_range)[10])

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
        layout = msgspec.json.decode(data, type=dict).get("layout")
        if layout != LAYOUT:
            raise ConfigError(
                f"{data_dir} was written by another version of Pilothouse (layout {layout}, this one writes {LAYOUT}): "
                "run that version, or choose another --data-dir"
            )
        config = msgspec.json.decode(data, type=Config)
        config.node.check()
        return config
    except InvalidSettings as error:
        raise ConfigError(f"{path}: node: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} cannot be read ({error}): mend it or restore it from a copy") from error


def default_node_name() -> str:
    """The host's name in lower case with what Kubernetes does not allow replaced."""
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname().lower()).strip("-.")
    return name or "node"


def check_ranges(config: Config, routes: list[tuple[ipaddress.IPv4Network, str]]) -> None:
    """Refuses ranges that do not parse, overlap one another, or overlap a route the host already has."""
    try:
        pods, services = ipaddress.IPv4Network(config.pod_range), ipaddress.IPv4Network(config.service_range)
    except ValueError as error:
        raise ConfigError(
            f"--pod-range and --service-range must be IPv4 ranges such as 10.244.0.0/16: {error}"
        ) from error
    if pods.prefixlen > 22:
        raise ConfigError(f"--pod-range {pods} is too small: every node takes a /24 of it; use /22 or larger")
    if services.prefixlen > 24:
        raise ConfigError(f"--service-range {services} is too small: use /24 or larger")
    if pods.overlaps(services):
        raise ConfigError(f"--pod-range {pods} and --service-range {services} overlap: choose two that do not")
    for route, interface in routes:
        for option, wanted in (("--pod-range", pods), ("--service-range", services)):
            if wanted.overlaps(route):
                raise ConfigError(
                    f"{option} {wanted} overlaps {route}, which this host reaches through {interface}: "
                    f"choose another {option}, for example 10.{(int(wanted.network_address) >> 16 & 255) ^ 5}.0.0/16"
                )
