"""How much directories take on their file system, and where a container's own layer is."""

from __future__ import annotations

import os
from pathlib import Path


def disk_usage(directory: str | Path) -> tuple[int, int]:
    """Bytes and inodes below a directory and itself, on its own file system; what vanishes meanwhile counts nothing.

    A file with several names counts once.
    """
    try:
        top = os.lstat(directory)
    except OSError:
        return 0, 0
    total, inodes, seen = top.st_blocks * 512, 1, set[int]()
    waiting = [str(directory)]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    state = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if state.st_dev != top.st_dev:
                    continue
                if state.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                    if state.st_ino in seen:
                        continue
                    seen.add(state.st_ino)
                total += state.st_blocks * 512
                inodes += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total, inodes


def writable_layers() -> dict[str, str]:
    """By mount point, the upper directory of every overlay mounted here."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        words = line.split()
        kind, options = words[words.index("-") + 1], words[-1]
        if kind == "overlay":
            for option in options.split(","):
                if option.startswith("upperdir="):
                    found[words[4]] = option.removeprefix("upperdir=")
    return found
