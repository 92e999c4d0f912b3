"""A cluster without containers: the real API, controllers and scheduler, and a node that says every pod is running."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from typing import Any

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.client.wire import User
from pilothouse.controllers.pods import FINISHED
from pilothouse.controllers.start import run_controllers
from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler
from pilothouse.kinds.batch.cron_job import CronJob
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.endpoints import Endpoints
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.replication_controller import ReplicationController
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.networking.ip_address import IPAddress
from pilothouse.kinds.networking.service_cidr import ServiceCIDR
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.kinds.rbac.role import ClusterRole
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.scheduler.scheduler import run_scheduler
from pilothouse.testing.control_plane import ControlPlane

_WATCHED: tuple[type[Object], ...] = (
    ClusterRole,
    ConfigMap,
    ControllerRevision,
    CronJob,
    DaemonSet,
    Deployment,
    Endpoints,
    EndpointSlice,
    HorizontalPodAutoscaler,
    IPAddress,
    Event,
    FlowSchema,
    Job,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    ResourceQuota,
    Service,
    ServiceAccount,
    ServiceCIDR,
    StatefulSet,
    ValidatingAdmissionPolicy,
    VolumeAttachment,
)


class Cluster:
    """`until(condition)` looks again whenever something changed."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.client: Client = plane.client()
        self.informers = SharedInformers(plane.client(User("system:controller:informers")))
        self.runs_pods = True
        self.unready: Callable[[Pod], bool] = lambda pod: False
        self.finishes: Callable[[Pod], bool] = lambda pod: False
        self._changed = asyncio.Event()
        self._pod_tasks: set[asyncio.Task[None]] = set()
        self._addresses = ipaddress.IPv4Network("10.244.0.0/16").hosts()

    async def run(self) -> None:
        """Runs everything until cancelled."""
        async with asyncio.TaskGroup() as group:
            self.watch()
            self.controllers = group.create_task(self.run_controllers())
            scheduler = self.plane.client(User("system:kube-scheduler"))
            group.create_task(run_scheduler(scheduler, informers=self.informers))
            group.create_task(self.informers.run())

    def watch(self) -> None:
        """Has everything that changes seen by `until`, and pods by the node."""
        for cls in _WATCHED:
            self.informers.of(cls).subscribe(lambda key, old, new: self._changed.set())
        self.informers.of(Pod).subscribe(self._pod_seen)

    def _pod_seen(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None:
            task = asyncio.get_running_loop().create_task(self.run_pod(new))
            self._pod_tasks.add(task)
            task.add_done_callback(self._pod_tasks.discard)

    async def restart_controllers(self) -> None:
        """Ends the controllers wherever they are, as a kill would, and starts them afresh."""
        self.controllers.cancel()
        await asyncio.wait([self.controllers])
        self.controllers = asyncio.create_task(self.run_controllers())

    def run_controllers(self) -> Coroutine[Any, Any, None]:
        return run_controllers(
            lambda name: self.plane.client(User(f"system:controller:{name}")),
            pod_range="10.244.0.0/16",
            informers=self.informers,
            autoscaling_period=0.05,
        )

    async def run_pod(self, pod: Pod) -> None:
        """What a node would report."""
        try:
            if not pod.spec.node_name or not self.runs_pods:
                return
            if pod.metadata.deletion_timestamp is not None:
                await self.client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid, grace_period_seconds=0)
                return
            if pod.status.phase in FINISHED:
                return
            if self.finishes(pod):
                done = {"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}}
                await self.client.patch(Pod, pod.name, pod.namespace, done, type="strategic", subresource="status")
                return
            ready = "False" if self.unready(pod) else "True"
            if any(c.type == "Ready" and c.status == ready for c in pod.status.conditions):
                return
            now = timestamp()
            status: Obj = {
                "phase": "Running",
                "podIP": pod.status.pod_ip or str(next(self._addresses)),
                "conditions": [
                    {"type": type, "status": ready, "lastTransitionTime": now} for type in ("ContainersReady", "Ready")
                ],
            }
            await self.client.patch(
                Pod, pod.name, pod.namespace, {"status": status}, type="strategic", subresource="status"
            )
        except ApiError:
            return

    async def add_node(self, name: str, cpu: str = "4") -> None:
        await self.client.create_tree(
            Node.resource,
            {
                "metadata": {
                    "name": name,
                    "labels": {"kubernetes.io/hostname": name},
                    "annotations": {"pilothouse.io/volumes-dir": "/var/lib/pilothouse/volumes"},
                }
            },
        )
        amounts = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        status = {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        }
        await self.client.patch(Node, name, None, {"status": status}, subresource="status")

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        """The first truthy answer of `condition`, asked again after every change. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                self._changed.clear()
                answer = condition()
                if answer:
                    return answer
                await self._changed.wait()

    def get(self, cls: type[Any], key: str) -> Any:
        return self.informers.of(cls).get(key)

    def all(self, cls: type[Any]) -> list[Any]:
        return list(self.informers.of(cls))


def deployment(name: str = "web", replicas: int = 3, image: str = "web:1", **spec: Any) -> Obj:
    labels = {"app": name}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{"name": "main", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]
                },
            },
            **spec,
        },
    }
