"""What is left on disk of pods that are no more: directories with their mounts, and cgroups."""

from __future__ import annotations

import asyncio
import logging
import shutil

from pilothouse.linux.mounts import unmount_below
from pilothouse.node.context import Context

log = logging.getLogger(__name__)


async def remove_orphans(context: Context) -> None:
    """Removes directories and cgroups of pods that this node does not know; only once it knows all its pods."""
    known = {state.uid for state in context.pods}
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
