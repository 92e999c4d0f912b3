"""Devices of a plugin, over its real socket: told as a resource, handed out once, given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from node_world import World, until

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj
from pilothouse.node.settings import Settings
from pilothouse.node.wire import device_plugin_pb2 as wire
from pilothouse.testing.control_plane import ControlPlane

RESOURCE = "example.com/tuner"


class Plugin:
    """A device plugin as a vendor would write one: two tuners, of which it likes the second."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.health = {"a": "Healthy", "b": "Healthy"}
        self.asked: list[tuple[str, list[str]]] = []
        self._news = asyncio.Condition()

    async def start(self) -> None:
        def unary(work: Any, request: Any, reply: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(
                work, request_deserializer=request.FromString, response_serializer=reply.SerializeToString
            )

        methods = {
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(
                self._watch,
                request_deserializer=wire.Empty.FromString,
                response_serializer=wire.ListAndWatchResponse.SerializeToString,
            ),
            "Allocate": unary(self._allocate, wire.AllocateRequest, wire.AllocateResponse),
            "GetPreferredAllocation": unary(
                self._prefer, wire.PreferredAllocationRequest, wire.PreferredAllocationResponse
            ),
            "PreStartContainer": unary(
                self._before_start, wire.PreStartContainerRequest, wire.PreStartContainerResponse
            ),
        }
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", methods),))
        self._server.add_insecure_port(f"unix://{self.directory}/tuner.sock")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def register(self, resource: str = RESOURCE, version: str = "v1beta1") -> None:
        options = wire.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)
        request = wire.RegisterRequest(version=version, endpoint="tuner.sock", resource_name=resource, options=options)
        async with grpc.aio.insecure_channel(f"unix://{self.directory}/kubelet.sock") as channel:
            call = channel.unary_unary(
                "/v1beta1.Registration/Register",
                request_serializer=wire.RegisterRequest.SerializeToString,
                response_deserializer=wire.Empty.FromString,
            )
            await call(request, timeout=5)

    async def set_health(self, device: str, health: str) -> None:
        async with self._news:
            self.health[device] = health
            self._news.notify_all()

    async def _watch(self, request: wire.Empty, context: Any) -> AsyncIterator[wire.ListAndWatchResponse]:
        while True:
            devices = [wire.Device(id=name, health=health) for name, health in self.health.items()]
            yield wire.ListAndWatchResponse(devices=devices)
            async with self._news:
                await self._news.wait()

    async def _allocate(self, request: wire.AllocateRequest, context: Any) -> wire.AllocateResponse:
        ids = list(request.container_requests[0].device_ids)
        self.asked.append(("allocate", ids))
        answer = wire.ContainerAllocateResponse(envs={"TUNERS": ",".join(ids)}, annotations={"tuner": "on"})
        answer.devices.add(host_path="/dev/null", container_path="/dev/tuner", permissions="r")
        answer.mounts.add(host_path="/opt/tuner", container_path="/tuner", read_only=True)
        return wire.AllocateResponse(container_responses=[answer])

    async def _prefer(self, request: wire.PreferredAllocationRequest, context: Any) -> wire.PreferredAllocationResponse:
        wanted = request.container_requests[0]
        liked = sorted(wanted.available_device_ids, reverse=True)[: wanted.allocation_size]
        answer = wire.ContainerPreferredAllocationResponse(device_ids=liked)
        return wire.PreferredAllocationResponse(container_responses=[answer])

    async def _before_start(
        self, request: wire.PreStartContainerRequest, context: Any
    ) -> wire.PreStartContainerResponse:
        self.asked.append(("start", list(request.devices_ids)))
        return wire.PreStartContainerResponse()


class Lab(World):
    """A node that takes device plugins."""

    plugin: Plugin

    def settings(self) -> Settings:
        return Settings(device_plugins_dir=str(self.root / "plugins"))

    async def offered(self, capacity: str, allocatable: str) -> None:
        async def check() -> bool:
            status = (await self.client.get(Node, "n1")).status
            return (status.capacity.get(RESOURCE), status.allocatable.get(RESOURCE)) == (capacity, allocatable)

        await until(check)

    async def create(self, name: str, count: int) -> None:
        container = {"name": "a", "image": "img:1", "resources": {"limits": {RESOURCE: str(count)}}}
        spec: Obj = {"nodeName": "n1", "terminationGracePeriodSeconds": 1, "containers": [container]}
        await self.client.create_tree(Pod.resource, {"metadata": {"name": name}, "spec": spec}, "default")

    async def runs(self, *names: str) -> None:
        async def check() -> bool:
            return self.runtime.running() == [f"{name}/a" for name in names]

        await until(check)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    (tmp_path / "cgroup").mkdir()
    async with ControlPlane() as plane:
        made = Lab(tmp_path, plane)
        await made.client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        made.start()
        socket = tmp_path / "plugins" / "kubelet.sock"

        async def listening() -> bool:
            return await asyncio.to_thread(socket.exists)

        await until(listening)
        made.plugin = Plugin(tmp_path / "plugins")
        await made.plugin.start()
        await made.plugin.register()
        await made.offered("2", "2")
        yield made
        await made.plugin.stop()
        await made.stop()


async def test_a_container_gets_its_devices_and_another_does_not(lab: Lab) -> None:
    await lab.create("one", 1)
    await lab.runs("one")
    (container,) = lab.runtime.containers.values()
    assert ("TUNERS", b"b") in {(variable.key, variable.value) for variable in container.config.envs}
    assert [(d.host_path, d.container_path, d.permissions) for d in container.config.devices] == [
        ("/dev/null", "/dev/tuner", "r")
    ]
    assert ("/opt/tuner", "/tuner", True) in {
        (mount.host_path, mount.container_path, mount.readonly) for mount in container.config.mounts
    }
    assert container.config.annotations["tuner"] == "on"
    assert lab.plugin.asked == [("allocate", ["b"]), ("start", ["b"])]
    # The other device is free for one pod, and the next is refused.
    await lab.create("two", 1)
    await lab.runs("one", "two")
    assert lab.plugin.asked[2:] == [("allocate", ["a"]), ("start", ["a"])]
    await lab.create("three", 1)

    async def refused() -> bool:
        return (await lab.client.get(Pod, "three", "default")).status.reason == f"OutOf{RESOURCE}"

    await until(refused)
    # A restarted node does not hand out what is in use; what a pod had is free after it.
    await lab.stop()
    lab.start()

    async def back() -> bool:
        try:
            await lab.plugin.register()
        except grpc.aio.AioRpcError:
            return False
        return True

    # The node removes sockets at its start, which tells plugins to serve anew.
    await until(back)
    await lab.plugin.stop()
    await lab.plugin.start()
    await lab.plugin.register()
    await lab.offered("2", "2")
    await lab.client.delete(Pod, "one", "default")

    async def gone() -> bool:
        return await lab.client.find(Pod, "one", "default") is None

    await until(gone)
    await lab.create("four", 1)
    await lab.runs("four", "two")
    assert lab.plugin.asked[-2:] == [("allocate", ["b"]), ("start", ["b"])]


async def test_amounts_follow_health_and_the_plugin(lab: Lab) -> None:
    await lab.plugin.set_health("a", "Unhealthy")
    await lab.offered("2", "1")
    await lab.plugin.stop()
    await lab.offered("2", "0")
    await lab.plugin.start()
    await lab.plugin.register()
    await lab.offered("2", "1")


async def test_a_registration_that_makes_no_sense_is_refused(lab: Lab) -> None:
    for resource, version in (("tuner", "v1beta1"), (RESOURCE, "v1"), ("kubernetes.io/x", "v1beta1")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await lab.plugin.register(resource, version)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
