"""hostPath: a file or directory of the host, checked by the type the pod names."""

from __future__ import annotations

import stat
from pathlib import Path

from pilothouse.kinds.core.pod import HostPathVolumeSource
from pilothouse.node.volumes.payload import VolumeError

_TESTS = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def set_up(source: HostPathVolumeSource) -> Path:
    """The path, made if its type asks for that. Raises VolumeError."""
    path = Path(source.path)
    if not path.is_absolute() or ".." in path.parts:
        raise VolumeError(f"hostPath {source.path!r} must be absolute and without '..'")
    kind = source.type
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not path.exists():
            path.touch(mode=0o644)
        kind = "File"
    if not kind:
        if not path.exists():
            # Without a type upstream leaves it to the runtime, which makes a directory.
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        return path
    if kind not in _TESTS:
        raise VolumeError(f"hostPath type check failed: {kind!r} is not a known type")
    try:
        fits = _TESTS[kind](path.stat().st_mode)
    except FileNotFoundError:
        fits = False
    if not fits:
        raise VolumeError(f"hostPath type check failed: {path} is not a {kind.lower()}")
    return path
