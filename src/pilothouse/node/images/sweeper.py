"""Removes unused images when the disk they are on fills, and logs of pods that are long gone."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time

from pilothouse.node.context import Context
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.images.collect import EVERYTHING, Limits, Stored, to_remove
from pilothouse.node.orphans import remove_old_logs

log = logging.getLogger(__name__)

PERIOD = 300.0


class Sweeper:
    """Looks every five minutes; what a container or a pod of this node uses stays."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.sweep()
                await remove_old_logs(self._context)
            except (RuntimeFailure, OSError) as error:
                log.warning("removing unused images and logs: %s", error)

    async def win_back(self) -> None:
        """Removes every image that nobody uses, and all logs of pods that are gone. Raises RuntimeFailure, OSError."""
        await self.sweep(EVERYTHING)
        await remove_old_logs(self._context, everything=True)

    async def sweep(self, limits: Limits | None = None) -> list[str]:
        """Removes what the thresholds ask for; returns the removed images' ids. Raises RuntimeFailure, OSError."""
        settings = self._context.config.settings
        limits = limits or Limits(
            settings.image_gc_high_threshold_percent,
            settings.image_gc_low_threshold_percent,
            settings.image_minimum_gc_age,
        )
        runtime = self._context.runtime
        disk = await asyncio.to_thread(shutil.disk_usage, self._context.config.data_dir)
        # What is kept back for root counts as used: nobody else can have it.
        used = disk.total - disk.free
        images = await runtime.list_images()
        in_use = {container.image_ref for container in await runtime.list_containers()}
        by_name = {name: image.id for image in images for name in [*image.repo_tags, *image.repo_digests]}
        in_use |= {by_name[name] for name in list(in_use) if name in by_name}
        for state in self._context.pods:
            in_use.update(state.images.values())
        stored = [Stored(image.id, image.size, image.pinned or _is_sandbox(list(image.repo_tags))) for image in images]
        chosen = to_remove(stored, in_use, self._context.images.last_used, disk.total, used, time.time(), limits)
        for image_id in chosen:
            await runtime.remove_image(image_id)
            log.info("removed unused image %s: the disk fills", image_id)
        if chosen:
            self._context.images.forget()
        return chosen


def _is_sandbox(tags: list[str]) -> bool:
    """The image sandboxes run; containerd 1.6 does not pin it."""
    return any("/pause:" in tag for tag in tags)
