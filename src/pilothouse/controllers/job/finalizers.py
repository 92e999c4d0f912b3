"""The tracking finalizer put on pods and taken off them."""

from __future__ import annotations

from pilothouse.client.client import Client
from pilothouse.kinds.batch.job import TRACKING_FINALIZER
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import NotFound


async def set_tracked(client: Client, pod: Pod, tracked: bool) -> None:
    """Puts the finalizer on the pod or takes it off, if it has not changed meanwhile. Raises Conflict if it has."""
    finalizers = [name for name in pod.metadata.finalizers if name != TRACKING_FINALIZER]
    if tracked:
        finalizers.append(TRACKING_FINALIZER)
    meta = {
        "uid": pod.metadata.uid,
        "resourceVersion": pod.metadata.resource_version,
        "finalizers": finalizers or None,
    }
    try:
        await client.patch(Pod, pod.name, pod.namespace, {"metadata": meta})
    except NotFound:
        return
