"""Whether a node under pressure, or without room, takes a pod given to it. Pure; rules and words upstream's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction

from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.quantity import parse_quantity
from pilothouse.node.eviction.rank import SYSTEM_CRITICAL
from pilothouse.node.resources import pod_requests, qos_class
from pilothouse.node.state import Refusal

_MEMORY_TAINT = "node.kubernetes.io/memory-pressure"


def under_pressure(pod: Pod, conditions: Collection[str]) -> Refusal | None:
    """Critical pods are always taken; under memory pressure alone, pods that asked for something, or tolerate it."""
    if not conditions or (pod.spec.priority or 0) >= SYSTEM_CRITICAL:
        return None
    if set(conditions) == {"MemoryPressure"} and (qos_class(pod) != "BestEffort" or _tolerates(pod)):
        return None
    shown = " ".join(sorted(conditions))
    return Refusal("Evicted", f"Pod was rejected: The node had condition: [{shown}]. ")


def _tolerates(pod: Pod) -> bool:
    return any(
        ((not t.key and t.operator == "Exists") or t.key == _MEMORY_TAINT)
        and t.effect in ("", "NoSchedule")
        and (t.operator == "Exists" or t.value == "")
        for t in pod.spec.tolerations
    )


def without_room(pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str]) -> Refusal | None:
    """The first resource of which the pod asks for more than the others leave."""
    others = list(others)
    most = int(parse_quantity(allocatable.get("pods", "0")))
    if most and len(others) + 1 > most:
        return _out_of("pods", Fraction(1), Fraction(len(others)), Fraction(most))
    asked = pod_requests(pod)
    used: dict[str, Fraction] = {}
    for other in others:
        for name, number in pod_requests(other).items():
            used[name] = used.get(name, Fraction(0)) + number
    for name in sorted(asked):
        if not asked[name]:
            continue
        room = parse_quantity(allocatable.get(name, "0"))
        taken = used.get(name, Fraction(0))
        if asked[name] + taken > room:
            return _out_of(name, asked[name], taken, room)
    return None


def _out_of(name: str, asked: Fraction, used: Fraction, room: Fraction) -> Refusal:
    scale = 1000 if name == "cpu" else 1
    numbers = [int(number * scale) for number in (asked, used, room)]
    return Refusal(
        f"OutOf{name}",
        f"Pod was rejected: Node didn't have enough resource: {name}, requested: {numbers[0]}, used: {numbers[1]}, "
        f"capacity: {numbers[2]}",
    )
