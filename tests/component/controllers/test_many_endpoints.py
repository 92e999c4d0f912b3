"""Where a namespace has many pods, changes of a Service's pods are gathered before a pass looks at all of them."""

from __future__ import annotations

import asyncio

import pytest

from pilothouse.client.events import EventRecorder
from pilothouse.client.shared import SharedInformers
from pilothouse.controllers.context import Context
from pilothouse.controllers.endpoint_slice import controller as endpoint_slice
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane


@pytest.mark.parametrize(("few", "gathered"), [(500, False), (1, True)])
async def test_changes_are_gathered(few: int, gathered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_slice, "_FEW_PODS", few)
    monkeypatch.setattr(endpoint_slice, "_LONGEST_SECONDS", 3600.0)
    monkeypatch.setattr(endpoint_slice, "_SECONDS_A_POD", 3600.0)
    async with ControlPlane() as plane:
        client = plane.client()
        service: Obj = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
        await client.create_tree(Service.resource, service, "shop")
        spec = {"containers": [{"name": "c", "image": "i"}]}
        for name in ("a", "b"):
            tree: Obj = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}
            await client.create_tree(Pod.resource, tree, "shop")
        informers = SharedInformers(client)
        running = asyncio.create_task(informers.run())
        controller = endpoint_slice.Controller(Context(client, informers, EventRecorder(client, "test")))
        await informers.synced(Service, Pod, EndpointSlice, Node)
        controller.subscribe()
        sliced, failed = asyncio.Event(), asyncio.Event()
        informers.of(EndpointSlice).subscribe(lambda key, old, new: sliced.set())
        informers.of(Pod).subscribe(
            lambda key, old, new: failed.set() if new and new.status.phase == "Failed" else None
        )
        await controller.reconcile(await controller.queue.get())
        controller.queue.done("shop/web")
        # The slice that the pass made comes by the informer and wakes it too.
        async with asyncio.timeout(10):
            await sliced.wait()
            if not gathered:
                controller.queue.done(await controller.queue.get())
        await client.patch(Pod, "a", "shop", {"status": {"phase": "Failed"}}, subresource="status")
        async with asyncio.timeout(10):
            await failed.wait()
        assert controller.queue.idle is gathered
        monkeypatch.setattr(endpoint_slice, "_SECONDS_A_POD", 0.0)
        await client.patch(Pod, "b", "shop", {"status": {"phase": "Failed"}}, subresource="status")
        async with asyncio.timeout(10):
            assert await controller.queue.get() == "shop/web"
        running.cancel()
