"""How much of a container may be swapped out: nothing, unless the node is told to share its swap. Pure.

Source: Kubernetes documentation, "Swap memory management"; KEP-2400 (LimitedSwap).
"""

from __future__ import annotations

from typing import NamedTuple

from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.quantity import to_bytes
from pilothouse.node.resources import SYSTEM_CRITICAL_PRIORITY, qos_class

NO_SWAP, LIMITED_SWAP = "NoSwap", "LimitedSwap"
BEHAVIORS = (NO_SWAP, LIMITED_SWAP)


class HostSwap(NamedTuple):
    """The swap that pods share; none with NoSwap. Bytes."""

    swap: int = 0
    memory: int = 0


NOTHING_SHARED = HostSwap()


def swap_bytes(pod: Pod, container: Container, host: HostSwap) -> int:
    """The container's share of the swap, as large as that of its memory request in the host's memory.

    Only burstable pods have one, and of them no container whose request is its limit, and no critical pod.
    """
    if not host.swap or not host.memory or qos_class(pod) != "Burstable":
        return 0
    if (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY:
        return 0
    resources = container.resources
    request = to_bytes(resources.requests.get("memory", "0")) if resources is not None else 0
    limit = to_bytes(resources.limits.get("memory", "0")) if resources is not None else 0
    return 0 if request == limit else request * host.swap // host.memory
