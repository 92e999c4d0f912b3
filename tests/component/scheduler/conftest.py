"""The cluster is that of the controllers' tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1] / "controllers"))

from cluster_world import Cluster

from pilothouse.kinds.core.namespace import Namespace
from pilothouse.testing.control_plane import ControlPlane


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with ControlPlane() as plane:
        made = Cluster(plane)
        await made.client.create_tree(Namespace.resource, {"metadata": {"name": "shop"}})
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        made.controllers.cancel()
        await asyncio.wait([running, made.controllers])
