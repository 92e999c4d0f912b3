"""What `doctor` finds on a host: each finding with what it means and what mends it. Pure: facts in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pilothouse.linux.host import REQUIRED_CAPABILITIES, Host

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`bad` keeps the engine or its pods from running; `note` limits something; `mend` is a command or an action."""

    subject: str
    level: Level
    message: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else `doctor` looked at, beside the host's facts."""

    is_root: bool
    data_dir: str
    free_bytes: int
    cni_plugins: frozenset[str]
    nftables_error: str
    """Empty when the kernel took a test of nftables."""
    ports_taken: dict[str, str]
    """`address:port` to what holds it."""
    year: int
    clock_synchronised: bool | None
    engine_runs: bool
    ipv6: bool
    """Whether the host has IPv6, for clusters that are asked to have it."""
    sandbox_runs: dict[str, str]
    """Runtime name to "" when a test pod ran on it, else why it did not; empty while that was never tried."""
    unbounded_pages: int = 0
    """Bytes of huge pages that the host has and no control group can bound."""


def findings(host: Host, around: Surroundings) -> list[Finding]:
    """All findings, in the order a person would look."""
    return [
        Finding("system", "ok", f"{host.os_name}, Linux {host.kernel}, {host.machine}, init {host.init}"),
        _machine(host),
        _root(around),
        _capabilities(host),
        _cgroups(host),
        *_kernel(host, around),
        *_programs(host, around),
        *_runtimes(host, around),
        _disk(around),
        _memory(host),
        *_huge_pages(around),
        _uplink(host),
        _ipv6(around),
        _ports(around),
        _clock(around),
        _boot(host),
    ]


def _machine(host: Host) -> Finding:
    if host.machine == "x86_64":
        return Finding("processor", "ok", f"x86_64, {host.cpus} CPUs")
    return Finding("processor", "bad", f"{host.machine}: the engine runs on x86_64 only so far")


def _root(around: Surroundings) -> Finding:
    if around.is_root:
        return Finding("user", "ok", "root")
    return Finding("user", "bad", "not root: the engine makes network namespaces and mounts", "sudo pilothouse …")


def _capabilities(host: Host) -> Finding:
    missing = sorted(REQUIRED_CAPABILITIES - host.capabilities)
    if missing:
        return Finding("capabilities", "bad", f"missing: {', '.join(missing)}", "run on the host, or privileged")
    if "CAP_SYS_RESOURCE" not in host.capabilities:
        return Finding(
            "capabilities",
            "note",
            "CAP_SYS_RESOURCE is missing: oom scores cannot be lowered, so containerd is set to leave them alone",
        )
    return Finding("capabilities", "ok", "all that are needed")


def _cgroups(host: Host) -> Finding:
    texts = {
        "v2": "v2 (unified)",
        "v1": "v1: works; the kernel's developers have moved to v2",
        "hybrid": "v1 with a v2 tree beside it: works; crun runs in a mount namespace without that tree",
    }
    if host.cgroup_mode == "none":
        return Finding("cgroups", "bad", "none mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    return Finding("cgroups", "ok" if host.cgroup_mode == "v2" else "note", texts[host.cgroup_mode])


def _huge_pages(around: Surroundings) -> list[Finding]:
    if not around.unbounded_pages:
        return []
    told = f"{around.unbounded_pages >> 20} MB, and no hugetlb controller that bounds their use: pods get none"
    return [Finding("huge pages", "note", told, "mount -t cgroup -o hugetlb none /sys/fs/cgroup/hugetlb (cgroup v1)")]


def _kernel(host: Host, around: Surroundings) -> list[Finding]:
    overlay = "overlay" in host.filesystems
    apparmor = "AppArmor" if host.apparmor else ""
    selinux = "SELinux" if host.selinux else ""
    modules = " and ".join(filter(None, (apparmor, selinux)))
    return [
        Finding("overlayfs", "ok", "there")
        if overlay
        else Finding("overlayfs", "bad", "the kernel lacks it: no image can be unpacked", "modprobe overlay"),
        Finding("nftables", "bad", around.nftables_error, "modprobe nf_tables nft_chain_nat nft_fib")
        if around.nftables_error
        else Finding("nftables", "ok", "takes service and policy rules"),
        Finding("seccomp", "ok", "there; every container gets the runtime's default profile")
        if host.seccomp
        else Finding("seccomp", "bad", "the kernel lacks it: containers would run unconfined", "use a stock kernel"),
        Finding("security modules", "ok", modules)
        if modules
        else Finding("security modules", "note", "neither AppArmor nor SELinux: pods that ask for one are refused"),
        Finding("user namespaces", "ok", "the kernel has them; containerd 1.6 does not use them for pods")
        if host.user_namespaces
        else Finding("user namespaces", "note", "switched off", "sysctl user.max_user_namespaces=10000"),
    ]


_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "haproxy": "haproxy",
}
_OPTIONAL = ("conntrack", "haproxy")
"""Without these all works but what they are for: looking at flows by hand, Ingresses."""


def _programs(host: Host, around: Surroundings) -> list[Finding]:
    found = []
    for program, package in _PACKAGES.items():
        if program not in host.programs:
            level: Level = "note" if program in _OPTIONAL else "bad"
            found.append(Finding(program, level, "not installed", f"apt-get install {package}"))
    missing = sorted({"ptp", "host-local", "loopback"} - around.cni_plugins)
    if missing:
        text = f"lacking {', '.join(missing)} in /usr/lib/cni"
        found.append(Finding("CNI plugins", "bad", text, "apt-get install containernetworking-plugins"))
    return found or [
        Finding("programs", "ok", "containerd, runc, conntrack, haproxy and the CNI plugins are installed")
    ]


def _runtimes(host: Host, around: Surroundings) -> list[Finding]:
    """Which OCI runtimes suit this operating system."""
    found = []
    for name in ("runc", "crun", "runsc"):
        subject = f"runtime {name}"
        if name == "runsc":
            there = "installed" if name in host.programs else "not installed"
            text = (
                f"{there}; not offered: Debian packages no containerd shim for it, and runc's shim gives it no network"
            )
            found.append(Finding(subject, "note", text))
            continue
        if name not in host.programs:
            if name != "runc":
                found.append(Finding(subject, "note", "not installed", f"apt-get install {name}"))
            continue
        tried = around.sandbox_runs.get(name)
        if tried is None:
            text = "installed; offered as RuntimeClass once a test pod ran on it (the engine tries when it starts)"
            found.append(Finding(subject, "note", text))
        elif tried:
            found.append(Finding(subject, "bad" if name == "runc" else "note", f"a test pod did not run: {tried}"))
        else:
            found.append(Finding(subject, "ok", f"a test pod ran on it: offered as RuntimeClass {name}"))
    return found


def _disk(around: Surroundings) -> Finding:
    free = around.free_bytes >> 20
    if free < 256:
        return Finding("disk", "bad", f"{free} MB free for {around.data_dir}", "free some, or choose --data-dir")
    level: Level = "ok" if free > 2048 else "note"
    return Finding("disk", level, f"{free} MB free for {around.data_dir}")


def _memory(host: Host) -> Finding:
    size = host.memory_bytes >> 20
    return Finding("memory", "ok" if size >= 900 else "note", f"{size} MB; the engine takes about 200")


def _uplink(host: Host) -> Finding:
    if host.uplink is None and host.ipv6_uplink:
        text = f"{host.ipv6_uplink}, by IPv6 alone"
        return Finding(
            "network", "note", text, "give ranges of IPv6: up --pod-range fd00:10:244::/56 --service-range …"
        )
    if host.uplink is None:
        return Finding("network", "note", "no default route", "name this machine's address: up --node-address")
    return Finding("network", "ok", f"{host.uplink.interface}, {host.uplink.address}, MTU {host.uplink.mtu}")


def _ipv6(around: Surroundings) -> Finding:
    if around.ipv6:
        return Finding("IPv6", "ok", "there, for a cluster of it or of both families")
    return Finding("IPv6", "ok", "not there (or disable_ipv6 is set): the cluster can have IPv4 only")


def _ports(around: Surroundings) -> Finding:
    if around.engine_runs:
        return Finding("ports", "ok", "held by the running engine")
    if around.ports_taken:
        taken = "; ".join(f"{port} by {holder}" for port, holder in around.ports_taken.items())
        return Finding("ports", "bad", f"taken: {taken}", "stop that program, or choose --listen and --node-port")
    return Finding("ports", "ok", "6443, 10250 and 53 on the cluster's DNS address are free")


def _clock(around: Surroundings) -> Finding:
    if around.year < 2025:
        text = f"the clock says {around.year}: certificates would not be valid yet"
        return Finding("clock", "bad", text, "date -s … or apt-get install systemd-timesyncd")
    if around.clock_synchronised is False:
        text = "not synchronised: with several machines, certificates and leases need it"
        return Finding("clock", "note", text, "apt-get install systemd-timesyncd")
    return Finding("clock", "ok", "plausible" if around.clock_synchronised is None else "synchronised")


def _boot(host: Host) -> Finding:
    if host.systemd:
        return Finding("after a reboot", "ok", "`up --background` installs a systemd unit that starts the engine")
    return Finding(
        "after a reboot",
        "note",
        "systemd is not the init here, so nothing starts the engine at boot",
        "have your init run: pilothouse up --background",
    )
