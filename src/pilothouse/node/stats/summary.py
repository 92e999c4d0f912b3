"""The kubelet's summary (`stats/v1alpha1`) and its metrics in Prometheus' text form, from measurements. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pilothouse.machinery.objects import Obj
from pilothouse.node.stats.network import Interface
from pilothouse.node.stats.sampler import HOST, Measured


@dataclass(frozen=True, slots=True)
class ContainerGroup:
    """A running container and its control group."""

    name: str
    path: str
    started_at: float
    image: str = ""
    id: str = ""
    """The runtime's."""


@dataclass(frozen=True, slots=True)
class PodGroup:
    """A pod with a sandbox, its control group and those of its containers."""

    namespace: str
    name: str
    uid: str
    path: str
    sandbox_path: str
    host_network: bool
    started_at: float
    containers: list[ContainerGroup] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system that holds images, containers and logs."""

    capacity_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(
    node: str,
    boot: float,
    pods: Iterable[PodGroup],
    measured: Mapping[str, Measured],
    interfaces: Mapping[str, list[Interface]],
    file_system: FileSystem,
) -> Obj:
    """The Summary object. What is not measured is left out rather than shown as zero."""
    now = measured[HOST].usage.time
    disk = _disk(file_system, now)
    return {
        "node": {
            "nodeName": node,
            "startTime": moment(boot),
            **_usage(measured[HOST]),
            "network": _network(interfaces.get(HOST, []), now),
            "fs": disk,
            "runtime": {"imageFs": disk},
        },
        "pods": [_pod(pod, measured, interfaces, disk) for pod in pods if pod.path in measured],
    }


def _pod(pod: PodGroup, measured: Mapping[str, Measured], interfaces: Mapping[str, list[Interface]], disk: Obj) -> Obj:
    whole = measured[pod.path]
    tree: Obj = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": moment(pod.started_at),
        "containers": [
            {
                "name": container.name,
                "startTime": moment(container.started_at),
                **_usage(measured[container.path]),
                "rootfs": disk,
                "logs": disk,
            }
            for container in pod.containers
            if container.path in measured
        ],
        **_usage(whole),
    }
    if not pod.host_network and interfaces.get(pod.path):
        tree["network"] = _network(interfaces[pod.path], whole.usage.time)
    return tree


def _usage(measured: Measured) -> Obj:
    usage = measured.usage
    time = moment(usage.time)
    cpu: Obj = {"time": time, "usageCoreNanoSeconds": usage.cpu_ns}
    if measured.nano_cores is not None:
        cpu["usageNanoCores"] = measured.nano_cores
    memory: Obj = {
        "time": time,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    }
    if usage.available_bytes is not None:
        memory["availableBytes"] = usage.available_bytes
    return {"cpu": cpu, "memory": memory}


def _network(interfaces: list[Interface], time: float) -> Obj:
    entries = [
        {
            "name": entry.name,
            "rxBytes": entry.rx_bytes,
            "rxErrors": entry.rx_errors,
            "txBytes": entry.tx_bytes,
            "txErrors": entry.tx_errors,
        }
        for entry in interfaces
    ]
    return {"time": moment(time), **(entries[0] if entries else {}), "interfaces": entries}


def _disk(disk: FileSystem, time: float) -> Obj:
    return {
        "time": moment(time),
        "capacityBytes": disk.capacity_bytes,
        "availableBytes": disk.available_bytes,
        "inodes": disk.inodes,
        "inodesFree": disk.inodes_free,
    }
