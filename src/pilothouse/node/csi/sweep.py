"""What nobody has any more: volumes staged without a user, and mounts of pods that this node does not know.

Looked for when the node starts, when a pod's volume went, and when a driver came; what a driver cannot undo now is
tried again, ever more slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection

from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.node.csi.volumes import CsiVolumes
from pilothouse.node.volumes.payload import VolumeError
from pilothouse.node.volumes.unfinished import QUIET_SECONDS, Unfinished
from pilothouse.reconcile.queue import Backoff

log = logging.getLogger(__name__)

_BACKOFF = Backoff(1.0, 60.0)


class Sweep:
    def __init__(self, layout: CsiLayout) -> None:
        self._layout = layout
        self._orphans: set[str] = set()
        self._wake = asyncio.Event()
        self._wake.set()
        self._told: set[str] = set()

    def wake(self) -> None:
        self._wake.set()

    async def forsake(self, known: Collection[str]) -> None:
        """Has the mounts of all pods but these undone; only once the node knows all its pods."""
        self._orphans |= set(await asyncio.to_thread(self._layout.pods)) - set(known)
        self._wake.set()

    async def run(self, volumes: CsiVolumes) -> None:
        failures = 0
        delay: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)
            self._wake.clear()
            problems, going_on = await self._sweep(volumes)
            left = problems | {text for text, quiet in going_on.items() if not quiet}
            for text in sorted(left - self._told):
                log.warning("a volume of a CSI driver is left behind: %s", text)
            self._told = left
            failures = failures + 1 if problems else 0
            # What is slow wakes this when it ends, so its time is no failure that puts off what comes after it.
            delay = _BACKOFF.delay(failures) if problems else QUIET_SECONDS if going_on else None

    async def _sweep(self, volumes: CsiVolumes) -> tuple[set[str], dict[str, bool]]:
        """What cannot be undone, and what is still going on: whether it is too early to tell of it."""
        problems: set[str] = set()
        going_on: dict[str, bool] = {}
        for uid in sorted(self._orphans):
            try:
                await volumes.take_down(uid)
                self._orphans.discard(uid)
            except Unfinished as error:
                going_on[f"pod {uid}: {error}"] = error.quiet
            except OSError as error:
                problems.add(f"pod {uid}: {error}")
        for record in await asyncio.to_thread(self._layout.staged):
            try:
                await volumes.unstage_unused(record)
            except Unfinished as error:
                going_on[f"volume {record.handle}: {error}"] = error.quiet
            except (VolumeError, OSError) as error:
                problems.add(f"volume {record.handle}: {error}")
        try:
            await volumes.in_use.tell()
        except NotFound:
            pass  # told once the Node is made
        except (ApiError, OSError) as error:
            problems.add(f"volumesInUse cannot be told: {error}")
        return problems, going_on
