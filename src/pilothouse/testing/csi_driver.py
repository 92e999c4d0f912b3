"""A CSI driver for tests, a process of its own: a volume is a directory of the host, shown by bind mounts, or the
device that its attributes name.

`python -m pilothouse.testing.csi_driver --root KUBELET_ROOT --store DIRECTORY` registers as a stock driver with its
registrar does. Every call is a line of JSON in `DIRECTORY/calls`; a file `DIRECTORY/fail-METHOD` makes the method fail
with the status code and text in it, and while `DIRECTORY/hold-METHOD` exists the method does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from pilothouse.linux.mounts import bind, is_mount_point, unmount
from pilothouse.node.wire import csi_pb2 as csi
from pilothouse.node.wire import plugin_registration_pb2 as registration

NAME = "bind.csi.example.com"
_POLL = 0.02
Work = Callable[[Any], Message]


class BindDriver:
    """`kinds` names the optional abilities it claims, as the specification spells them."""

    def __init__(
        self, root: Path, store: Path, name: str, node_id: str, kinds: list[str], most: int, zone: str
    ) -> None:
        self.socket = root / "plugins" / name / "csi.sock"
        self.registration = root / "plugins_registry" / f"{name}-reg.sock"
        self._store = store
        self._name = name
        self._node_id = node_id
        self._kinds = kinds
        self._most = most
        self._zone = zone

    async def serve(self) -> None:
        """Serves and registers until cancelled."""
        for path in (self.socket, self.registration):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        self._store.mkdir(parents=True, exist_ok=True)
        node = await self._start(self.socket, "csi.v1.Node", self._node_methods())
        registrar = await self._start(self.registration, "pluginregistration.Registration", self._registrar_methods())
        try:
            await asyncio.Event().wait()
        finally:
            self.registration.unlink(missing_ok=True)
            await registrar.stop(None)
            await node.stop(None)

    async def _start(self, socket: Path, service: str, methods: dict[str, tuple[type[Message], Work]]) -> Any:
        server = grpc.aio.server()
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._method(name, work),
                request_deserializer=request.FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for name, (request, work) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(f"unix://{socket}")
        await server.start()
        return server

    def _method(self, name: str, work: Work) -> Callable[[Any, Any], Awaitable[Message]]:
        async def call(request: Any, context: Any) -> Message:
            with (self._store / "calls").open("a") as log:
                log.write(json.dumps({"method": name, **MessageToDict(request)}) + "\n")
            while (self._store / f"hold-{name}").exists():  # noqa: ASYNC110 (another process removes it)
                await asyncio.sleep(_POLL)
            failure = self._store / f"fail-{name}"
            if failure.exists():
                code, _, text = failure.read_text().partition(" ")
                await context.abort(grpc.StatusCode[code], text)
            return work(request)

        return call

    def _registrar_methods(self) -> dict[str, tuple[type[Message], Work]]:
        info = registration.PluginInfo(
            type="CSIPlugin", name=self._name, endpoint=str(self.socket), supported_versions=["1.0.0"]
        )
        return {
            "GetInfo": (registration.InfoRequest, lambda _: info),
            "NotifyRegistrationStatus": (
                registration.RegistrationStatus,
                lambda _: registration.RegistrationStatusResponse(),
            ),
        }

    def _node_methods(self) -> dict[str, tuple[type[Message], Work]]:
        return {
            "NodeGetInfo": (csi.NodeGetInfoRequest, self._info),
            "NodeGetCapabilities": (csi.NodeGetCapabilitiesRequest, self._abilities),
            "NodeStageVolume": (csi.NodeStageVolumeRequest, self._stage),
            "NodeUnstageVolume": (csi.NodeUnstageVolumeRequest, self._unstage),
            "NodePublishVolume": (csi.NodePublishVolumeRequest, self._publish),
            "NodeUnpublishVolume": (csi.NodeUnpublishVolumeRequest, self._unpublish),
            "NodeExpandVolume": (csi.NodeExpandVolumeRequest, self._expand),
        }

    def _info(self, _: csi.NodeGetInfoRequest) -> csi.NodeGetInfoResponse:
        answer = csi.NodeGetInfoResponse(node_id=self._node_id, max_volumes_per_node=self._most)
        if self._zone:
            answer.accessible_topology.segments[f"{self._name}/zone"] = self._zone
        return answer

    def _abilities(self, _: csi.NodeGetCapabilitiesRequest) -> csi.NodeGetCapabilitiesResponse:
        answer = csi.NodeGetCapabilitiesResponse()
        for kind in self._kinds:
            rpc = csi.NodeServiceCapability.RPC(type=kind)
            answer.capabilities.add(rpc=rpc)
        return answer

    def _volume(self, handle: str) -> Path:
        path = self._store / "volumes" / handle
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _stage(self, request: csi.NodeStageVolumeRequest) -> csi.NodeStageVolumeResponse:
        _show(self._volume(request.volume_id), Path(request.staging_target_path))
        return csi.NodeStageVolumeResponse()

    def _unstage(self, request: csi.NodeUnstageVolumeRequest) -> csi.NodeUnstageVolumeResponse:
        unmount(request.staging_target_path)
        return csi.NodeUnstageVolumeResponse()

    def _publish(self, request: csi.NodePublishVolumeRequest) -> csi.NodePublishVolumeResponse:
        target = Path(request.target_path)
        if request.volume_capability.HasField("block"):
            target.touch()
            if not is_mount_point(target):
                bind(request.volume_context["device"], target)
            return csi.NodePublishVolumeResponse()
        source = Path(request.staging_target_path) if request.staging_target_path else self._volume(request.volume_id)
        _show(source, target)
        return csi.NodePublishVolumeResponse()

    def _unpublish(self, request: csi.NodeUnpublishVolumeRequest) -> csi.NodeUnpublishVolumeResponse:
        target = Path(request.target_path)
        unmount(target)
        if target.is_dir():
            target.rmdir()
        target.unlink(missing_ok=True)
        return csi.NodeUnpublishVolumeResponse()

    def _expand(self, request: csi.NodeExpandVolumeRequest) -> csi.NodeExpandVolumeResponse:
        return csi.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)


def _show(source: Path, target: Path) -> None:
    """Binds once: a driver has to bear being asked again."""
    target.mkdir(parents=True, exist_ok=True)
    if not is_mount_point(target):
        bind(source, target)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--node-id", default=f"node-{os.getpid()}")
    parser.add_argument("--ability", action="append", default=[])
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--zone", default="")
    given = parser.parse_args()
    driver = BindDriver(given.root, given.store, given.name, given.node_id, given.ability, given.most, given.zone)
    serving = asyncio.create_task(driver.serve())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    await asyncio.wait([serving])


if __name__ == "__main__":
    asyncio.run(_main())
