"""What this host is and can do, read from /proc, /sys and the PATH; nothing here changes anything.

`launch` configures containerd by it and `doctor` reports it.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import shutil
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CgroupMode = Literal["v1", "hybrid", "v2", "none"]

# capability.h; only those the engine's parts ask for.
_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_MKNOD": 27,
    "CAP_SETFCAP": 31,
}
REQUIRED_CAPABILITIES = frozenset(_CAPABILITIES) - {"CAP_SYS_RESOURCE", "CAP_SYS_PTRACE"}


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface of the default route."""

    interface: str
    address: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Host:
    """Facts about the host; absent programs are missing from `programs`."""

    kernel: str
    machine: str
    os_name: str
    cgroup_mode: CgroupMode
    capabilities: frozenset[str]
    init: str
    seccomp: bool
    apparmor: bool
    selinux: bool
    filesystems: frozenset[str]
    user_namespaces: bool
    programs: dict[str, str]
    uplink: Uplink | None
    memory_bytes: int
    cpus: int
    ipv6_uplink: str = ""
    """The interface of the IPv6 default route, "" without one."""

    @property
    def systemd(self) -> bool:
        """True when systemd is the running init, not merely installed."""
        return self.init == "systemd"


PROGRAMS = (
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "crun",
    "runsc",
    "nft",
    "conntrack",
    "haproxy",
    "mount",
)
_SBIN = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def detect() -> Host:
    """Reads the facts; takes a few milliseconds."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    effective = int(status["CapEff"].strip(), 16)
    return Host(
        kernel=platform.release(),
        machine=platform.machine(),
        os_name=_os_name(),
        cgroup_mode=cgroup_mode(),
        capabilities=frozenset(name for name, bit in _CAPABILITIES.items() if effective >> bit & 1),
        init="systemd" if Path("/run/systemd/system").is_dir() else _read("/proc/1/comm") or "unknown",
        seccomp="Seccomp" in status,
        apparmor=_read("/sys/module/apparmor/parameters/enabled") == "Y",
        selinux=Path("/sys/fs/selinux/enforce").exists(),
        filesystems=frozenset(line.split()[-1] for line in _read("/proc/filesystems").splitlines()),
        user_namespaces=int(_read("/proc/sys/user/max_user_namespaces") or 0) > 0,
        programs={name: path for name in PROGRAMS if (path := find_program(name))},
        uplink=uplink(),
        ipv6_uplink=ipv6_uplink(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpus=os.cpu_count() or 1,
    )


_UNSTEADY = 0x01 | 0x08 | 0x20 | 0x40
"""Flags of an address that is temporary, a duplicate, deprecated or tentative (linux/if_addr.h)."""
_REFUSAL = 0x0200
"""RTF_REJECT."""


def find_program(name: str) -> str | None:
    """The path of a program, looked up in PATH and in the system's directories."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SBIN))


def cgroup_mode(root: str = "/sys/fs/cgroup") -> CgroupMode:
    """`v2` (unified), `v1`, `hybrid` (v1 with a v2 tree beside it) or `none`."""
    base = Path(root)
    if (base / "cgroup.controllers").exists():
        return "v2"
    if (base / "memory").is_dir():
        return "hybrid" if (base / "unified" / "cgroup.procs").exists() else "v1"
    return "none"


def uplink() -> Uplink | None:
    """The default route's interface with its first IPv4 address, or None without a default route."""
    for line in _read("/proc/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000":
            address = _interface_address(fields[0])
            if address:
                return Uplink(fields[0], address, int(_read(f"/sys/class/net/{fields[0]}/mtu") or 1500))
    return None


def routed_ranges() -> list[tuple[ipaddress.IPv4Network, str]]:
    """The IPv4 destinations in the main routing table, with their interfaces, the default route left out."""
    ranges = []
    for line in _read("/proc/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[7] != "00000000":
            destination = socket.inet_ntoa(struct.pack("<I", int(fields[1], 16)))
            mask = socket.inet_ntoa(struct.pack("<I", int(fields[7], 16)))
            ranges.append((ipaddress.IPv4Network(f"{destination}/{mask}"), fields[0]))
    return ranges


def has_ipv6() -> bool:
    """Whether this network namespace has IPv6, and new devices get it."""
    disabled = [_read(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6") for name in ("all", "default")]
    return disabled == ["0", "0"]


def ipv6_uplink() -> str:
    """The interface of the IPv6 default route, "" without one."""
    routes = [line.split() for line in _read("/proc/net/ipv6_route").splitlines()]
    defaults = [
        (int(fields[5], 16), fields[9])
        for fields in routes
        if fields[0] == "0" * 32 and fields[1] == "00" and not int(fields[8], 16) & _REFUSAL
    ]
    return min(defaults, default=(0, ""))[1]


def ipv6_addresses() -> list[tuple[str, str]]:
    """The lasting addresses of global scope with their interfaces, in the kernel's order."""
    found = []
    for line in _read("/proc/net/if_inet6").splitlines():
        digits, _, _, scope, flags, interface = line.split()
        if scope == "00" and not int(flags, 16) & _UNSTEADY:
            found.append((str(ipaddress.IPv6Address(bytes.fromhex(digits))), interface))
    return found


def routed_ipv6_ranges() -> list[tuple[ipaddress.IPv6Network, str]]:
    """The IPv6 destinations that routes lead to, with their interfaces: without the default route, single addresses,
    multicast, link-local ones and refusals."""
    ranges = []
    for line in _read("/proc/net/ipv6_route").splitlines():
        fields = line.split()
        network = ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)))
        plain = not int(fields[8], 16) & _REFUSAL and not network.is_link_local and not network.is_multicast
        if plain and 0 < network.prefixlen < 128:
            ranges.append((network, fields[9]))
    return ranges


def _interface_address(interface: str) -> str | None:
    import fcntl

    siocgifaddr = 0x8915
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            packed = fcntl.ioctl(probe.fileno(), siocgifaddr, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return None
    return socket.inet_ntoa(packed[20:24])


def _os_name() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
