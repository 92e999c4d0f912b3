"""Pods that exceed their own limits of disk space are evicted whatever the node has left. Pure.

Order and words are upstream's (`localStorageEviction`): volumes, then the pod as a whole, then each container.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.quantity import Format, Quantity, canonical, parse_quantity, to_bytes
from pilothouse.node.eviction.rank import PodUse

_STORAGE = "ephemeral-storage"


def has_limits(pod: Pod) -> bool:
    """Whether anything of the pod is limited, so that measuring it is worth while."""
    return _pod_limit(pod) is not None or any(
        volume.empty_dir is not None and volume.empty_dir.size_limit for volume in pod.spec.volumes
    )


def exceeded(pod: Pod, use: PodUse, volumes: Mapping[str, int]) -> str:
    """Why the pod is over a limit of its own, "" when it is not; `volumes` has the bytes of each emptyDir."""
    for volume in pod.spec.volumes:
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if limit and to_bytes(limit) and volumes.get(volume.name, 0) > to_bytes(limit):
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{canonical(limit)}". '
    total = _pod_limit(pod)
    if total is not None:
        used = use.volumes.bytes + sum(c.writable.bytes + c.logs.bytes for c in use.containers)
        if used > total.value:
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
    for container in use.containers:
        own = _container_limit(pod, container.name)
        if own and container.writable.bytes + container.logs.bytes > to_bytes(own):
            return f'Container {container.name} exceeded its local ephemeral storage limit "{canonical(own)}". '
    return ""


def _container_limit(pod: Pod, name: str) -> str:
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        if container.name == name and container.resources is not None:
            return container.resources.limits.get(_STORAGE, "")
    return ""


def _pod_limit(pod: Pod) -> Quantity | None:
    """The sum of what limits there are; the larger of it and of any init container's own."""
    given = [_container_limit(pod, c.name) for c in pod.spec.containers]
    sidecars = [_container_limit(pod, c.name) for c in pod.spec.init_containers if c.restart_policy == "Always"]
    steady = [text for text in [*given, *sidecars] if text]
    once = [_container_limit(pod, c.name) for c in pod.spec.init_containers if c.restart_policy != "Always"]
    texts = [*steady, *(text for text in once if text)]
    if not texts:
        return None
    total = sum((parse_quantity(text) for text in steady), Fraction(0))
    most = max([total, *(parse_quantity(text) for text in once if text)])
    form = Quantity.parse(texts[0]).format
    return Quantity(most, form if most.denominator == 1 else Format.DECIMAL_SI)
