"""Writes what was decided: the node of a pod, the node of its claims, or why there is none."""

from __future__ import annotations

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import timestamp
from pilothouse.reconcile.volumes import SELECTED_NODE
from pilothouse.scheduler.pod_info import PodInfo


async def bind(client: Client, pod: Pod, node: str) -> None:
    """Binds the pod to the node. Raises `NotFound` when it is gone, `Conflict` when it is bound already."""
    body = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.metadata.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    await client.request("POST", Pod.resource.path(pod.namespace, pod.name, "binding"), body=body)


async def select_node(
    client: Client, claims: Informer[PersistentVolumeClaim], keys: tuple[str, ...], node: str
) -> None:
    """Tells the claims which node they are wanted on, so that the volume controller binds them there."""
    for key in keys:
        claim = claims.get(key)
        if claim is None or claim.metadata.annotations.get(SELECTED_NODE) == node:
            continue
        meta = claim.metadata
        patch = {
            "metadata": {
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "annotations": {SELECTED_NODE: node},
            }
        }
        await client.patch(PersistentVolumeClaim, meta.name, meta.namespace, patch)


async def report(client: Client, pod: Pod, reason: str, message: str) -> bool:
    """Sets the condition PodScheduled to False with this reason, unless it says so already; True if it was written."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            if (condition.reason, condition.message) == (reason, message):
                return False
            since = condition.last_transition_time
            break
    else:
        since = None
    new = {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or timestamp(),
    }
    patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [new]}}
    try:
        await client.patch(Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status")
    except NotFound:
        return False
    return True


async def nominate(client: Client, pod: Pod, node: str) -> None:
    """Notes the node on which room is being made for the pod."""
    patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"nominatedNodeName": node}}
    await client.patch(Pod, pod.name, pod.namespace, patch, subresource="status")


async def evict(client: Client, victim: PodInfo, scheduler: str) -> None:
    """Sends a pod away for a more important one; one that is gone already is as good."""
    pod = victim.pod
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": f"{scheduler}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": timestamp(),
    }
    patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
    try:
        await client.patch(Pod, pod.name, pod.namespace, patch, type="strategic", subresource="status")
        await client.delete(Pod, pod.name, pod.namespace, uid=pod.metadata.uid)
    except NotFound:
        return
