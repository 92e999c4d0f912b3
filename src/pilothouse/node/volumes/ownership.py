"""fsGroup: a volume's files belong to the pod's group, which may write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pilothouse.kinds.core.pod import Pod


def group_of(pod: Pod) -> int | None:
    """The group that a pod wants its volumes' files to belong to."""
    context = pod.spec.security_context
    return context.fs_group if context is not None else None


def give_to_group(root: Path, group: int, *, only_if_root_differs: bool) -> None:
    """Owns everything below `root` by `group`, readable and writable by it, directories with setgid. Raises OSError.

    With `only_if_root_differs` (fsGroupChangePolicy OnRootMismatch) a root that already fits is taken to stand for all.
    """
    top = root.stat()
    if only_if_root_differs and top.st_gid == group and top.st_mode & 0o2070 == 0o2070:
        return
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            _give(Path(directory, name), group)
        _give(Path(directory), group)


def _give(path: Path, group: int) -> None:
    state = path.lstat()
    if stat.S_ISLNK(state.st_mode):
        os.chown(path, -1, group, follow_symlinks=False)
        return
    extra = 0o2070 if stat.S_ISDIR(state.st_mode) else 0o060
    os.chown(path, -1, group)
    os.chmod(path, stat.S_IMODE(state.st_mode) | extra)
