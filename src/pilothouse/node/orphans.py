"""What is left on disk of pods that are no more: directories with their mounts, cgroups, and old logs."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from pathlib import Path

from pilothouse.linux.mounts import unmount_below
from pilothouse.machinery.quantity import to_bytes
from pilothouse.node.context import Context

log = logging.getLogger(__name__)


async def remove_orphans(context: Context) -> None:
    """Removes directories and cgroups of pods that this node does not know; only once it knows all its pods."""
    known = {state.uid for state in context.pods}
    if context.csi is not None:
        await context.csi.forsake(known)
    await asyncio.to_thread(_remove, context, known)


def _remove(context: Context, known: set[str]) -> None:
    for directory in context.config.layout.pods.iterdir():
        if directory.name in known:
            continue
        try:
            unmount_below(directory)
            shutil.rmtree(directory)
        except OSError as error:
            log.warning("what is left of pod %s cannot be removed: %s", directory.name, error)
    root = context.config.cgroup_root
    for qos in context.cgroups.children(root):
        for name in context.cgroups.children(f"{root}/{qos}"):
            if name.startswith("pod") and name.removeprefix("pod") not in known:
                context.cgroups.remove(f"{root}/{qos}/{name}")


async def remove_old_logs(context: Context, *, everything: bool = False) -> None:
    """Removes logs of pods that are gone, the oldest first, until the rest is young and small enough."""
    known = {f"{state.namespace}_{state.name}_{state.uid}" for state in context.pods}
    settings = context.config.settings
    seconds, most = (0.0, 0) if everything else (settings.kept_logs_seconds, to_bytes(settings.kept_logs_size))
    await asyncio.to_thread(remove_logs, context.config.layout.logs, known, time.time(), seconds, most)


def remove_logs(root: Path, known: set[str], now: float, seconds: float, most: int) -> None:
    """Removes the directories not `known` that are older than `seconds`, or beyond `most` bytes together."""
    gone = []
    for directory in root.iterdir():
        if directory.name not in known:
            files = [path.stat() for path in directory.rglob("*") if path.is_file()]
            last = max((state.st_mtime for state in files), default=directory.stat().st_mtime)
            gone.append((last, sum(state.st_size for state in files), directory))
    total = 0
    for last, size, directory in sorted(gone, key=lambda entry: -entry[0]):
        total += size
        if total > most or now - last > seconds:
            shutil.rmtree(directory, ignore_errors=True)
