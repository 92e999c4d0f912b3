"""emptyDir: a directory that lives as long as the pod, on disk, in memory or of huge pages."""

from __future__ import annotations

from pathlib import Path

from pilothouse.kinds.core.pod import EmptyDirVolumeSource, Pod
from pilothouse.linux.mounts import is_mount, mount_huge_pages, mount_tmpfs
from pilothouse.machinery.quantity import to_bytes
from pilothouse.node import huge_pages
from pilothouse.node.resources import pod_limits


def set_up(source: EmptyDirVolumeSource, target: Path, pod: Pod) -> None:
    """What the pod may use bounds a volume in memory that names no size. Raises OSError, NoSuchPages."""
    target.mkdir(parents=True, exist_ok=True)
    if source.in_memory and not is_mount(target):
        if source.medium == "Memory":
            mount_tmpfs(target, size_bytes=_least(source, pod_limits(pod).memory_bytes))
        else:
            size = huge_pages.page_size(source.medium, pod)
            mount_huge_pages(target, page_bytes=size, size_bytes=_least(source, huge_pages.total(pod, size)))
    target.chmod(0o777)


def _least(source: EmptyDirVolumeSource, bound: int) -> int:
    return min((size for size in (to_bytes(source.size_limit or "0"), bound) if size), default=0)
