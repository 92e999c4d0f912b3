"""A node without containers: every pod bound to it is said to run and be ready, and to end when it is deleted."""

from __future__ import annotations

import asyncio
import ipaddress

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj, micro_timestamp, timestamp

_ALLOCATABLE = {"cpu": "16", "memory": "64Gi", "pods": "500", "ephemeral-storage": "100Gi"}
_LEASES = "kube-node-lease"
_RENEW_SECONDS = 10.0
_ENDED = ("Failed", "Succeeded")


class StandInNode:
    """`client` acts for the node, and may do everything."""

    def __init__(self, client: Client, name: str = "n1") -> None:
        self._client = client
        self._name = name
        self._addresses = ipaddress.IPv4Network("10.244.0.0/16").hosts()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Registers the node and runs its pods until cancelled."""
        await self._register()
        pods = Informer(self._client, Pod, field_selector=f"spec.nodeName={self._name}")
        pods.subscribe(self._seen)
        async with asyncio.TaskGroup() as group:
            group.create_task(pods.run())
            group.create_task(self._renew())

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux"}
        await self._client.create_tree(Node.resource, {"metadata": {"name": self._name, "labels": labels}})
        now = timestamp()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastHeartbeatTime": now}
        status = {"capacity": _ALLOCATABLE, "allocatable": _ALLOCATABLE, "conditions": [ready]}
        await self._client.patch(Node, self._name, None, {"status": status}, subresource="status")
        lease = {"holderIdentity": self._name, "leaseDurationSeconds": 40, "renewTime": micro_timestamp()}
        await self._client.create_tree(Lease.resource, {"metadata": {"name": self._name}, "spec": lease}, _LEASES)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            spec = {"renewTime": micro_timestamp()}
            await self._client.patch(Lease, self._name, _LEASES, {"spec": spec})

    def _seen(self, key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None:
            task = asyncio.get_running_loop().create_task(self._run_pod(new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_pod(self, pod: Pod) -> None:
        try:
            if pod.metadata.deletion_timestamp is not None:
                await self._client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid, grace_period_seconds=0)
            elif pod.status.phase not in (*_ENDED, "Running"):
                status = self._ended(pod) if pod.spec.restart_policy == "Never" else self._running(pod)
                await self._client.patch(
                    Pod, pod.name, pod.namespace, {"status": status}, type="strategic", subresource="status"
                )
        except ApiError:
            return  # Changed or gone meanwhile: the next event tells.

    def _running(self, pod: Pod) -> Obj:
        now = timestamp()
        ip = str(next(self._addresses))
        return {
            "phase": "Running",
            "startTime": now,
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                {"type": type_, "status": "True", "lastTransitionTime": now}
                for type_ in ("Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready")
            ],
            "containerStatuses": [
                {
                    "name": container.name,
                    "image": container.image,
                    "imageID": "",
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": now}},
                }
                for container in pod.spec.containers
            ],
        }

    def _ended(self, pod: Pod) -> Obj:
        """A pod that is not to be restarted has done its work at once."""
        now = timestamp()
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
        return {
            "phase": "Succeeded",
            "startTime": now,
            "containerStatuses": [
                {
                    "name": container.name,
                    "image": container.image,
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
                for container in pod.spec.containers
            ],
        }
