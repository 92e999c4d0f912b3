"""What a container is given for the devices it asks for, and how the runtime is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pilothouse.node.runtime_config import BindMount
from pilothouse.node.wire import cri_pb2 as cri


class DeviceNode(NamedTuple):
    """A device of the host that a container sees; `permissions` are of the characters `r`, `w` and `m`."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(slots=True)
class Given:
    """`cdi` names devices by the Container Device Interface."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: list[BindMount] = field(default_factory=list)
    devices: list[DeviceNode] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    cdi: list[str] = field(default_factory=list)


def hand_out(config: cri.ContainerConfig, devices: Iterable[DeviceNode], given: Given) -> None:
    """Adds devices of volumes and what plugins gave to a container's configuration; the pod's own variables stay."""
    own = {variable.key for variable in config.envs}
    for key, value in given.environment.items():
        if key not in own:
            config.envs.add(key=key, value=value.encode())
    for mount in given.mounts:
        config.mounts.add(host_path=mount.host_path, container_path=mount.container_path, readonly=mount.read_only)
    for device in (*devices, *given.devices):
        config.devices.add(
            host_path=device.host_path, container_path=device.container_path, permissions=device.permissions
        )
    for key, value in given.annotations.items():
        config.annotations[key] = value
    for name in given.cdi:
        config.CDI_devices.add(name=name)
