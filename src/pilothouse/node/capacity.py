"""What this host has to give."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Collection
from pathlib import Path

from pilothouse.linux.cgroups import GroupLimits
from pilothouse.linux.huge_pages import pools
from pilothouse.machinery.objects import Obj
from pilothouse.node import huge_pages
from pilothouse.node.eviction.signals import MEMORY, NODEFS
from pilothouse.node.settings import Settings

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def memory_bytes() -> int:
    return _meminfo()["MemTotal"]


def swap_total() -> int:
    """Bytes of swap that the host has."""
    return _meminfo().get("SwapTotal", 0)


def disk_size(directory: Path) -> int:
    """The bytes of the file system that holds a directory, free or not."""
    return shutil.disk_usage(directory).total


def capacity(data_dir: Path, settings: Settings, page_sizes: Collection[int] = ()) -> dict[str, str]:
    """The host's whole measure; of huge pages those of the sizes given."""
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory_bytes() // 1024}Ki",
        "ephemeral-storage": f"{shutil.disk_usage(data_dir).total // 1024}Ki",
        "pods": str(settings.max_pods),
        **huge_pages.amounts(_pools(page_sizes)),
    }


def allocatable(data_dir: Path, settings: Settings, page_sizes: Collection[int] = ()) -> dict[str, str]:
    """What pods may ask for: the whole, less what is reserved, must stay free, or is in huge pages."""
    hard = {threshold.signal: threshold.least for threshold in settings.thresholds() if threshold.hard}
    memory, disk = memory_bytes(), shutil.disk_usage(data_dir).total
    keep_memory = hard[MEMORY].of(memory) if MEMORY in hard else 0
    keep_disk = hard[NODEFS].of(disk) if NODEFS in hard else 0
    cpu = max(0, 1000 * (os.cpu_count() or 1) - settings.reserved("cpu"))
    in_pages = sum(_pools().values())
    return {
        **capacity(data_dir, settings, page_sizes),
        "cpu": f"{cpu}m" if cpu % 1000 else str(cpu // 1000),
        "memory": f"{max(0, memory - settings.reserved('memory') - keep_memory - in_pages) // 1024}Ki",
        "ephemeral-storage": str(max(0, disk - settings.reserved("ephemeral-storage") - keep_disk)),
    }


def _pools(sizes: Collection[int] | None = None) -> dict[int, int]:
    return {size: total for size, total in pools().items() if sizes is None or size in sizes}


def pods_limits(settings: Settings) -> GroupLimits:
    """What all pods together are held to: what is reserved for the system they cannot take. Without it, nothing."""
    cpus = 1000 * (os.cpu_count() or 1)
    cpu, memory = settings.reserved("cpu"), settings.reserved("memory")
    return GroupLimits(
        cpu_shares=max(2, (cpus - cpu) * 1024 // 1000),
        memory_bytes=max(1 << 20, memory_bytes() - memory) if memory else 0,
        pids=max(1, pid_max() - settings.reserved("pid")) if settings.reserved("pid") else 0,
    )


def pid_max() -> int:
    """How many processes and threads the host can have."""
    return min(_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max"))


def system_info(runtime: str, version: str) -> Obj:
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
        "swap": {"capacity": swap_total()},
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
