"""The parts of CSI on a node, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.node.config import NodeConfig
from pilothouse.node.csi.announce import Announcer
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.node.csi.registry import Registry
from pilothouse.node.csi.root import prepare
from pilothouse.node.csi.sweep import Sweep
from pilothouse.node.csi.volumes import CsiVolumes
from pilothouse.node.references import References


class Csi:
    """Drivers that register below the configured root, and their volumes. `came` is called when a driver may have
    come, `finished` with a pod's uid when work for it that it did not wait for has ended."""

    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        references: References,
        came: Callable[[], None],
        finished: Callable[[str], None],
    ) -> None:
        layout, node_name = CsiLayout(Path(config.settings.csi_root_dir)), config.name
        self._data_dir = config.data_dir
        self._layout = layout
        self._registered = asyncio.Event()
        self._drivers: Informer[CSIDriver] = Informer(client, CSIDriver)
        self._sweep = Sweep(layout)
        self._came = came
        self._done_for = finished
        self._registry = Registry(layout.registry, Announcer(client, node_name), self._changed)
        self.volumes = CsiVolumes(
            client, references, layout, self._registry, self._drivers, node_name, self._sweep.wake, self._finished
        )

    async def run(self) -> None:
        """Takes registrations and clears away what nobody has, until cancelled; from when the Node is there."""
        await asyncio.to_thread(prepare, self._layout, self._data_dir)
        await self._registered.wait()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drivers.run())
                group.create_task(self._registry.run())
                group.create_task(self._sweep.run(self.volumes))
        finally:
            await self.volumes.close()

    def _finished(self, uid: str) -> None:
        self._sweep.wake()
        self._done_for(uid)

    def _changed(self) -> None:
        self._sweep.wake()
        self._came()

    async def forsake(self, known: Collection[str]) -> None:
        """Undoes what is mounted for all pods but these."""
        await self._sweep.forsake(known)

    def node_made(self) -> None:
        """The Node was registered, or made anew: what it said of drivers and volumes is told again."""
        self._registered.set()
        self.volumes.in_use.forget()
        self._registry.tell_again()
        self._sweep.wake()
