"""Tells the API which drivers are on the node: its CSINode, and an annotation and labels of its Node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pilothouse.client.client import Client
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.machinery.objects import Obj
from pilothouse.node.csi.facts import Facts, check_topology, csi_node_drivers, node_change


class Announcer:
    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._name = node_name
        self._turn = asyncio.Lock()

    async def announce(self, current: Callable[[], Mapping[str, Facts]], *, keep_others: bool) -> None:
        """Makes the API say what `current` says once it is this call's turn, as `facts` decides. Raises ApiError,
        OSError, TopologyConflict."""
        async with self._turn:
            drivers = dict(current())
            node = await self._client.get(Node, self._name)
            for facts in drivers.values():
                check_topology(node, facts.topology)
            change = node_change(node, drivers, keep_others=keep_others)
            if change is not None:
                await self._client.patch(Node, self._name, None, change)
            known = await self._client.find(CSINode, self._name)
            if known is not None and not any(ref.uid == node.metadata.uid for ref in known.metadata.owner_references):
                # It belongs to a Node that was deleted, and would be deleted after it.
                await self._client.delete(CSINode, self._name, uid=known.metadata.uid)
                known = None
            steps = csi_node_drivers(known, drivers, keep_others=keep_others)
            for entries in steps:
                if known is None:
                    known = await self._create(node, entries)
                else:
                    await self._client.patch(CSINode, self._name, None, {"spec": {"drivers": entries}})

    async def _create(self, node: Node, entries: list[Obj]) -> CSINode:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.metadata.uid}
        tree: Obj = {"metadata": {"name": self._name, "ownerReferences": [owner]}, "spec": {"drivers": entries}}
        await self._client.create_tree(CSINode.resource, tree)
        return await self._client.get(CSINode, self._name)
