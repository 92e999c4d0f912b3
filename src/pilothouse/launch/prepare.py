"""What `pilothouse up` decides and checks before any process starts: every refusal comes from here, with what to do."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.kinds.families import Network, networks_of, split_host_port
from pilothouse.launch import listeners, pause, runfile
from pilothouse.launch.config import API_PORT, Config, ConfigError, check_ranges, default_node_name, load
from pilothouse.launch.containerd import ContainerdError, write_configuration
from pilothouse.linux.host import (
    REQUIRED_CAPABILITIES,
    Host,
    detect,
    has_ipv6,
    ipv6_addresses,
    routed_ipv6_ranges,
    routed_ranges,
)
from pilothouse.machinery.durations import InvalidDuration, parse_duration
from pilothouse.network.config import BRIDGE

_PERIOD = "--horizontal-pod-autoscaler-sync-period"
LEAST_FREE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; None leaves the kept or default value."""

    data_dir: str
    listen: str | None = None
    node_name: str | None = None
    node_address: str | None = None
    node_port: int | None = None
    pod_range: str | None = None
    service_range: str | None = None
    domain: str | None = None
    server: str | None = None
    without: tuple[str, ...] = ()
    """Parts left out; none keeps what was left out before, `nothing` takes all back."""
    autoscaling_period: str | None = None
    """How often autoscalers look at their metrics: a duration such as 15s."""


def prepare(options: Options) -> Config:
    """Checks the host and the options and writes D/config.json and containerd's configuration. Raises ConfigError."""
    if os.geteuid() != 0:
        raise ConfigError("pilothouse up must be run as root (it makes network namespaces and mounts): use sudo")
    host = detect()
    check_host(host)
    data_dir = Path(options.data_dir).absolute()
    try:
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the data directory {data_dir}: {error.strerror}; choose --data-dir") from error
    free = shutil.disk_usage(data_dir).free
    if free < LEAST_FREE_BYTES:
        raise ConfigError(
            f"only {free >> 20} MB are free on the disk of {data_dir}; Pilothouse needs {LEAST_FREE_BYTES >> 20} MB: "
            "free some, or choose a --data-dir on another disk"
        )
    runfile.recover(data_dir)
    running = runfile.read(data_dir / "run", "supervisor")
    if running is not None or locked(data_dir):
        who = f" (pid {running.pid})" if running else ""
        raise ConfigError(
            f"an engine already runs on {data_dir}{who}: `pilothouse status` shows it, `pilothouse stop` ends it"
        )
    kept = load(str(data_dir))
    config = decide(options, kept, host, str(data_dir))
    if kept is None:
        # What an engine left that was not purged is in nobody's way.
        foreign = [route for route in routed_ranges() if route[1] not in (BRIDGE, "*")]
        check_ranges(config, [*foreign, *(route for route in routed_ipv6_ranges() if route[1] != BRIDGE)])
    check_ports(config, data_dir / "run")
    try:
        write_configuration(config, host)
    except ContainerdError as error:
        raise ConfigError(str(error)) from error
    config.save()
    return config


def decide(options: Options, kept: Config | None, host: Host, data_dir: str) -> Config:
    """The configuration that options, what was kept, and the host together give. Raises ConfigError."""
    if kept is not None and kept.data_dir != data_dir:
        raise ConfigError(
            f"{data_dir} was set up as {kept.data_dir}, and volumes know it by that path: mount or move it there"
        )
    config = kept or Config(data_dir=data_dir, node_name=default_node_name(), node_address="")
    former = config.node_address
    config.containerd = host.programs["containerd"]
    for name in ("node_name", "pod_range", "service_range", "domain", "server"):
        wanted = getattr(options, name)
        if wanted is None:
            continue
        if name.endswith("_range"):
            wanted = _canonical_ranges(wanted)
        if kept is not None and wanted != getattr(kept, name):
            raise ConfigError(
                f"--{name.replace('_', '-')} {wanted}: {data_dir} was set up with {getattr(kept, name)!r}; that stays "
                "for the life of the data (`pilothouse down --purge` removes it)"
            )
        setattr(config, name, wanted)
    _choose_addresses(config, options.node_address or "", host)
    if options.node_port is not None:
        config.node_port = options.node_port
    if options.autoscaling_period is not None:
        config.autoscaling_seconds = _period(options.autoscaling_period)
    if options.without:
        from pilothouse.launch import replaced  # late: it knows every controller, which takes a fifth of a second

        config.without = replaced.check(name for name in options.without if name != "nothing")
    if config.is_server:
        listen_on(config, options.listen, former)
    return config


def _canonical_ranges(text: str) -> str:
    """Ranges as the API writes them; what are none stay as they are, for check_ranges to name."""
    try:
        return ",".join(map(str, networks_of(text)))
    except ValueError:
        return text


def _choose_addresses(config: Config, asked: str, host: Host) -> None:
    """The node's address of each family of the cluster: the one asked for, else the one before, else one that the host
    has. Raises ConfigError for one that makes no sense here, and for a first family without."""
    try:
        ranges = (*networks_of(config.pod_range), *networks_of(config.service_range))
    except ValueError:
        return  # check_ranges says what is wrong with them
    versions = config.versions
    given = _asked_addresses(asked, versions, config.pod_range)
    if 6 in versions and not has_ipv6():
        if config.is_server or versions[0] == 6 or 6 in given:
            raise ConfigError(
                f"--pod-range {config.pod_range} asks for IPv6, which this host does not have: load or enable it "
                "(sysctl net.ipv6.conf.all.disable_ipv6=0 and net.ipv6.conf.default.disable_ipv6=0), or ranges of IPv4"
            )
        given[6] = ""
    before = dict(zip(versions, (config.node_address, config.other_address)))
    found = {version: _own_address(version, before[version], ranges, host) for version in versions}
    # Other nodes and the API's clients know the first one: it changes only when somebody says so.
    first, *others = [given.get(version, found[version]) for version in versions]
    first = first if versions[0] in given else config.node_address or first
    if not first:
        raise ConfigError(_NO_ADDRESS[versions[0]])
    config.node_address, config.other_address = first, "".join(others)


_NO_ADDRESS = {
    4: "this host has no default route to tell its address: name one with --node-address; a cluster of IPv6 alone has "
    "ranges such as --pod-range fd00:10:244::/56 --service-range fd00:10:96::/112",
    6: "this host has no lasting IPv6 address beyond its own link: give it one, or name it with --node-address",
}


def _asked_addresses(asked: str, versions: tuple[int, ...], pod_range: str) -> dict[int, str]:
    """The addresses of --node-address by their version of IP."""
    given: dict[int, str] = {}
    for text in filter(None, (part.strip() for part in asked.split(","))):
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise ConfigError(f"--node-address: {text!r} is no IP address: write one, or IPV4,IPV6") from error
        if address.version not in versions:
            raise ConfigError(f"--node-address {text}: this cluster has no IPv{address.version} range ({pod_range})")
        if address.version in given:
            raise ConfigError(f"--node-address {asked}: name one address of each version of IP")
        given[address.version] = str(address)
    return given


def _own_address(version: int, before: str, ranges: Sequence[Network], host: Host) -> str:
    """Of IPv4 the address before, else the default route's; of IPv6 the one before while the host has it, else a
    lasting one of the default route's interface, or of any. "" for none."""
    if version == 4:
        return before or (host.uplink.address if host.uplink is not None else "")
    known = [
        (address, interface)
        for address, interface in ipv6_addresses()
        if not any(ipaddress.ip_address(address) in network for network in ranges)
    ]
    if before in [address for address, _ in known]:
        return before
    uplinks = [host.ipv6_uplink, host.uplink.interface if host.uplink is not None else ""]
    return min(known, key=lambda entry: _place(uplinks, entry[1]), default=("", ""))[0]


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _period(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except InvalidDuration as error:
        raise ConfigError(f"{_PERIOD}: {error}") from error
    if not 1.0 <= seconds <= 3600.0:
        raise ConfigError(f"{_PERIOD} {text}: choose from 1s to 1h")
    return seconds


def listen_on(config: Config, listen: str | None, former: str = "") -> None:
    """Sets the API's addresses: those of --listen (default 127.0.0.1:6443) and the node's own. Raises ConfigError.

    `former` is the node's address until now, which is left when the node has moved to another.
    """
    if listen is None and config.listen:
        hosts = [host for host in config.listen if host not in (config.node_address, former)]
    else:
        host, port = split_host_port(listen or f"127.0.0.1:{API_PORT}")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"--listen {listen}: write an address and a port, such as 127.0.0.1:{API_PORT} or [::1]:{API_PORT}"
            )
        try:
            hosts = [str(ipaddress.ip_address(host))]
        except ValueError as error:
            raise ConfigError(f"--listen {listen}: {host!r} is not an IP address") from error
        config.api_port = int(port)
    if "::" in hosts:
        hosts.append("0.0.0.0")
    every = {":" in host for host in hosts if host in ("0.0.0.0", "::")}
    wanted = dict.fromkeys(["127.0.0.1", *hosts, config.node_address])
    # One that listens on every address of a family leaves no room for others of it.
    config.listen = [host for host in wanted if host in ("0.0.0.0", "::") or (":" in host) not in every]


def check_host(host: Host) -> None:
    """Refuses a host on which no pod could run. Raises ConfigError."""
    if host.machine not in pause.MACHINES:
        raise ConfigError(f"this is {host.machine}: the engine runs on {', '.join(pause.MACHINES)} only so far")
    missing = sorted(REQUIRED_CAPABILITIES - host.capabilities)
    if missing:
        raise ConfigError(
            f"this root lacks {', '.join(missing)}: run on the host itself or in a privileged container; "
            "`pilothouse doctor` says more"
        )
    if host.cgroup_mode == "none":
        raise ConfigError("no cgroups are mounted at /sys/fs/cgroup: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    if "overlay" not in host.filesystems:
        raise ConfigError("the kernel has no overlay file system: modprobe overlay")
    for program, package in (("containerd", "containerd"), ("runc", "runc")):
        if program not in host.programs:
            raise ConfigError(f"{program} is not installed: apt-get install {package} (scripts/up does it)")
    if not Path("/usr/lib/cni/ptp").exists():
        raise ConfigError("the CNI plugins are not installed: apt-get install containernetworking-plugins")


def check_ports(config: Config, run_dir: Path) -> None:
    """Refuses a port that something else than our own processes holds. Raises ConfigError."""
    try:
        if config.is_server and runfile.read(run_dir, "control") is None:
            for address in config.listen:
                listeners.listen_tcp(address, config.api_port).close()
        if runfile.read(run_dir, "node") is None:
            listeners.listen_tcp(config.node_address, config.node_port, option="--node-port").close()
        if runfile.read(run_dir, "dns") is None:
            listeners.bind_udp(config.dns_address, 53, free=True).close()
            listeners.listen_tcp(config.dns_address, 53, free=True).close()
    except listeners.PortInUse as error:
        raise ConfigError(str(error)) from error


def locked(data_dir: Path) -> bool:
    """True while a supervisor holds D/run/lock."""
    try:
        descriptor = os.open(data_dir / "run" / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
