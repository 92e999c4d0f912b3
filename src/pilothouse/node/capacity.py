"""What this host has to give, and whether something of it runs short."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

_MEMORY_RESERVE = 100 << 20
"""Kept from pods: below it the node is under memory pressure (upstream's eviction threshold)."""
_DISK_FREE_PERCENT = 10
_INODES_FREE_PERCENT = 5
_PIDS_FREE_PERCENT = 5
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Pressure:
    memory: bool
    disk: bool
    pids: bool


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def memory_bytes() -> int:
    return _meminfo()["MemTotal"]


def capacity(data_dir: Path, max_pods: int) -> dict[str, str]:
    """The host's whole measure."""
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory_bytes() // 1024}Ki",
        "ephemeral-storage": f"{shutil.disk_usage(data_dir).total // 1024}Ki",
        "pods": str(max_pods),
    }


def allocatable(data_dir: Path, max_pods: int) -> dict[str, str]:
    """What pods may ask for: the whole, less what must stay free."""
    disk = shutil.disk_usage(data_dir).total
    return {
        **capacity(data_dir, max_pods),
        "memory": f"{(memory_bytes() - _MEMORY_RESERVE) // 1024}Ki",
        "ephemeral-storage": str(disk - disk * _DISK_FREE_PERCENT // 100),
    }


def pressure(data_dir: Path) -> Pressure:
    """Which of the host's goods run short now."""
    disk = os.statvfs(data_dir)
    short_of_space = disk.f_bavail * 100 < disk.f_blocks * _DISK_FREE_PERCENT
    short_of_inodes = disk.f_files > 0 and disk.f_favail * 100 < disk.f_files * _INODES_FREE_PERCENT
    threads = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    most = min(_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max"))
    return Pressure(
        memory=_meminfo()["MemAvailable"] < _MEMORY_RESERVE,
        disk=short_of_space or short_of_inodes,
        pids=threads * 100 > most * (100 - _PIDS_FREE_PERCENT),
    )


def system_info(runtime: str, version: str) -> dict[str, str]:
    """The `nodeInfo` of the Node object."""
    return {
        "machineID": _text("/etc/machine-id"),
        "systemUUID": _text("/sys/class/dmi/id/product_uuid") or _text("/etc/machine-id"),
        "bootID": _text("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": _os_image(),
        "containerRuntimeVersion": runtime,
        "kubeletVersion": version,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def _meminfo() -> dict[str, int]:
    pairs = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _number(path: str) -> int:
    return int(_text(path) or 1 << 22)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
