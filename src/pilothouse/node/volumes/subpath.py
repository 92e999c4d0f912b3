"""subPath: a part of a volume, bound where the runtime takes it from, without escape through links."""

from __future__ import annotations

from pathlib import Path

from pilothouse.linux.mounts import EscapeError, bind_beneath, unmount
from pilothouse.node.volumes.payload import VolumeError


def bind_subpath(root: Path, below: str, target: Path) -> None:
    """Shows `below` of the volume at `root` at `target`. Raises VolumeError, OSError."""
    if below.startswith("/") or ".." in Path(below).parts:
        raise VolumeError(f"subPath {below!r} must be relative and without '..'")
    if _same_file(target, root, below):
        return
    unmount(target)
    try:
        bind_beneath(root, below, target)
    except EscapeError:
        raise VolumeError(f"subPath {below!r} leads out of its volume through a link") from None


def _same_file(target: Path, root: Path, below: str) -> bool:
    """Whether the target already shows the path (bound by an earlier attempt of the container)."""
    try:
        return target.samefile(root / below)
    except OSError:
        return False
