"""What a pod as a whole requests, and may use at most.

Source: upstream's `PodRequests` and `PodLimits`: containers and sidecars run together, each init container runs beside
the sidecars started before it, and the overhead of the runtime comes on top (of limits only where there are any).
"""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.kinds.core.container import Container
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.amounts import Amounts, add, amounts, raise_to

_Of = Callable[[Container], Amounts]


def container_requests(container: Container) -> Amounts:
    return amounts(container.resources.requests) if container.resources is not None else {}


def container_limits(container: Container) -> Amounts:
    return amounts(container.resources.limits) if container.resources is not None else {}


def pod_requests(pod: Pod) -> Amounts:
    total = _most(pod, container_requests)
    if pod.spec.resources is not None:
        total.update(amounts(pod.spec.resources.requests))
    add(total, amounts(pod.spec.overhead))
    return total


def pod_limits(pod: Pod) -> Amounts:
    total = _most(pod, container_limits)
    if pod.spec.resources is not None:
        total.update(amounts(pod.spec.resources.limits))
    add(total, {name: amount for name, amount in amounts(pod.spec.overhead).items() if name in total})
    return total


def _most(pod: Pod, of: _Of) -> Amounts:
    running: Amounts = {}
    for container in pod.spec.containers:
        add(running, of(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in pod.spec.init_containers:
        need = of(container)
        if container.restart_policy == "Always":
            add(sidecars, need)
            add(running, need)
            raise_to(peak, sidecars)
        else:
            add(need, sidecars)
            raise_to(peak, need)
    raise_to(running, peak)
    return running
