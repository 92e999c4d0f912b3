"""emptyDir: a directory that lives as long as the pod, on disk or in memory."""

from __future__ import annotations

from pathlib import Path

from pilothouse.kinds.core.pod import EmptyDirVolumeSource
from pilothouse.linux.mounts import is_mount, mount_tmpfs
from pilothouse.machinery.quantity import to_bytes


def set_up(source: EmptyDirVolumeSource, target: Path, memory_limit: int) -> None:
    """`memory_limit` bounds a volume in memory that names no size (0 for none). Raises OSError."""
    target.mkdir(parents=True, exist_ok=True)
    if source.medium == "Memory" and not is_mount(target):
        sizes = [size for size in (to_bytes(source.size_limit or "0"), memory_limit) if size]
        mount_tmpfs(target, size_bytes=min(sizes, default=0))
    target.chmod(0o777)
