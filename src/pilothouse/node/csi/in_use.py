"""Tells in the Node's status which attached volumes the node has in use: those are not to be detached."""

from __future__ import annotations

import asyncio

from pilothouse.client.client import Client
from pilothouse.kinds.core.node import Node
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.reconcile.csi import unique_name


class InUse:
    def __init__(self, client: Client, layout: CsiLayout, node_name: str) -> None:
        self._client = client
        self._layout = layout
        self._node = node_name
        self._told: list[str] | None = None
        self._turn = asyncio.Lock()

    def forget(self) -> None:
        """The Node was made anew, and says nothing yet."""
        self._told = None

    async def tell(self) -> None:
        """Told before the driver is asked to use a volume, and after it has let it go. Raises ApiError, OSError."""
        async with self._turn:
            names = await asyncio.to_thread(self._names)
            if names == self._told:
                return
            patch = {"status": {"volumesInUse": names or None}}
            await self._client.patch(Node, self._node, None, patch, subresource="status")
            self._told = names

    def _names(self) -> list[str]:
        published = [record for uid in self._layout.pods() for record in self._layout.published(uid)]
        return sorted(
            {
                unique_name(record.driver, record.handle)
                for record in (*self._layout.staged(), *published)
                if record.attachment
            }
        )
