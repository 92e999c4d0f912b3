"""A cluster without containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from cluster_world import Cluster

from pilothouse.kinds.core.namespace import Namespace
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane, admitting


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Nothing is admitted otherwise than it came."""
    async with ControlPlane() as plane:
        async for made in _running(plane):
            yield made


@pytest_asyncio.fixture
async def strict_cluster() -> AsyncIterator[Cluster]:
    """With every step of admission in force."""
    store = MemoryStore()
    async with ControlPlane(store=store, chain=admitting(store)) as plane:
        async for made in _running(plane):
            yield made


async def _running(plane: ControlPlane) -> AsyncIterator[Cluster]:
    made = Cluster(plane)
    await made.client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    made.controllers.cancel()
    await asyncio.wait([running, made.controllers])
