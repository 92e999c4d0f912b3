"""Device plugins: they register at a socket of the node, tell what devices there are, and how a container gets one.

Source: Kubernetes, "Device Plugins" (API v1beta1).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from pilothouse.node.devices.given import DeviceNode, Given
from pilothouse.node.devices.ledger import Ledger, NoDevices
from pilothouse.node.runtime_config import BindMount
from pilothouse.node.wire import device_plugin_pb2 as wire

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

VERSION = "v1beta1"
SOCKET = "kubelet.sock"
_HEALTHY = "Healthy"
_SECONDS = 30.0
_RESOURCE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?/[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?", re.ASCII)


@dataclass(slots=True)
class _Plugin:
    resource: str
    channel: grpc.aio.Channel
    options: wire.DevicePluginOptions
    follow: asyncio.Task[None] | None = None


class Devices:
    """The plugins of this node. `changed` is called when an amount did; `amounts` tells them."""

    def __init__(self, directory: Path, ledger: Ledger, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._ledger = ledger
        self._changed = changed
        self._plugins: dict[str, _Plugin] = {}

    async def run(self) -> None:
        """Takes registrations until cancelled. Sockets of plugins that an earlier process knew are removed, which tells
        those plugins to register again."""
        await asyncio.to_thread(self._make_directory)
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            self._register,
            request_deserializer=wire.RegisterRequest.FromString,
            response_serializer=wire.Empty.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.Registration", {"Register": handler}),)
        )
        server.add_insecure_port(f"unix://{self._directory / SOCKET}")
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            for plugin in list(self._plugins.values()):
                await self._drop(plugin)
            await server.stop(None)

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            if path.is_socket():
                path.unlink()
        self._ledger.load()

    async def _register(self, request: wire.RegisterRequest, context: Any) -> wire.Empty:
        problem = _problem(request)
        if problem:
            log.warning("a device plugin is refused: %s", problem)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        known = self._plugins.pop(request.resource_name, None)
        if known is not None:
            await self._drop(known)
        channel = grpc.aio.insecure_channel(f"unix://{self._directory / request.endpoint}")
        plugin = self._plugins[request.resource_name] = _Plugin(request.resource_name, channel, request.options)
        plugin.follow = asyncio.create_task(self._follow(plugin))
        log.info("device plugin for %s registered", request.resource_name)
        return wire.Empty()

    async def _follow(self, plugin: _Plugin) -> None:
        """Listens to what the plugin says of its devices; when it stops, they count as gone until it registers anew."""
        call = plugin.channel.unary_stream(
            "/v1beta1.DevicePlugin/ListAndWatch",
            request_serializer=wire.Empty.SerializeToString,
            response_deserializer=wire.ListAndWatchResponse.FromString,
        )
        try:
            async for answer in call(wire.Empty()):
                found = {device.id: device.health == _HEALTHY for device in answer.devices}
                if self._ledger.offer(plugin.resource, found):
                    self._changed()
        except grpc.aio.AioRpcError as error:
            log.warning("device plugin for %s: %s", plugin.resource, error.details())
        if self._plugins.get(plugin.resource) is plugin:
            del self._plugins[plugin.resource]
            self._ledger.withdraw(plugin.resource)
            self._changed()
            await plugin.channel.close()

    async def _drop(self, plugin: _Plugin) -> None:
        if plugin.follow is not None:
            plugin.follow.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await plugin.follow
        await plugin.channel.close()

    def amounts(self) -> tuple[dict[str, str], dict[str, str]]:
        """Capacity and what is allocatable of it, by resource."""
        return self._ledger.amounts()

    async def allocate(self, uid: str, container: str, asked: Mapping[str, int]) -> Given:
        """Devices for a container: `asked` is the number by resource. Raises NoDevices, OSError."""
        given = Given()
        for resource, count in asked.items():
            if not count or not self._ledger.knows(resource):
                continue
            plugin = self._plugins.get(resource)
            if plugin is None:
                raise NoDevices(f"the device plugin for {resource} is not there")
            preferred = await self._preferred(plugin, uid, container, count)
            chosen = self._ledger.take(uid, container, resource, count, preferred)
            request = wire.AllocateRequest(container_requests=[wire.ContainerAllocateRequest(device_ids=chosen)])
            answer = await self._call(plugin, "Allocate", request, wire.AllocateResponse)
            if len(answer.container_responses) != 1:
                raise NoDevices(f"the device plugin for {resource} answers for no container")
            _merge(given, answer.container_responses[0])
            if plugin.options.pre_start_required:
                starting = wire.PreStartContainerRequest(devices_ids=chosen)
                await self._call(plugin, "PreStartContainer", starting, wire.PreStartContainerResponse)
        return given

    def release(self, uid: str) -> None:
        """Takes back what a pod had. Raises OSError."""
        self._ledger.release(uid)

    async def _preferred(self, plugin: _Plugin, uid: str, container: str, count: int) -> list[str]:
        if not plugin.options.get_preferred_allocation_available:
            return []
        if len(self._ledger.held(uid, container, plugin.resource)) == count:
            return []
        wanted = wire.ContainerPreferredAllocationRequest(
            available_device_ids=self._ledger.free(plugin.resource), allocation_size=count
        )
        answer = await self._call(
            plugin,
            "GetPreferredAllocation",
            wire.PreferredAllocationRequest(container_requests=[wanted]),
            wire.PreferredAllocationResponse,
        )
        return [device for found in answer.container_responses for device in found.device_ids]

    async def _call(self, plugin: _Plugin, method: str, request: Message, reply: type[M]) -> M:
        call: Any = plugin.channel.unary_unary(
            f"/v1beta1.DevicePlugin/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            result: M = await call(request, timeout=_SECONDS)
            return result
        except grpc.aio.AioRpcError as error:
            raise NoDevices(f"device plugin for {plugin.resource}, {method}: {error.details()}") from None


def _problem(request: wire.RegisterRequest) -> str:
    if request.version != VERSION:
        return f"it speaks version {request.version!r} of the API, and this node {VERSION}"
    if not _RESOURCE.fullmatch(request.resource_name) or request.resource_name.startswith("kubernetes.io/"):
        return f"{request.resource_name!r} is no name of an extended resource"
    if not request.endpoint or "/" in request.endpoint:
        return f"endpoint {request.endpoint!r} is no name of a socket in this directory"
    return ""


def _merge(given: Given, answer: wire.ContainerAllocateResponse) -> None:
    given.environment.update(answer.envs)
    given.annotations.update(answer.annotations)
    given.cdi += [device.name for device in answer.cdi_devices]
    given.mounts += [BindMount(mount.host_path, mount.container_path, mount.read_only) for mount in answer.mounts]
    given.devices += [
        DeviceNode(device.host_path, device.container_path, device.permissions or "rw") for device in answer.devices
    ]
