"""The quality-of-service class of a pod. Source: Kubernetes' `ComputePodQOS`."""

from __future__ import annotations

from fractions import Fraction

from pilothouse.kinds.core.quantities import amount_of
from pilothouse.machinery.objects import Obj

_COUNTED = ("cpu", "memory")


def qos_class(spec: Obj) -> str:
    """`Guaranteed` when every container limits cpu and memory and requests as much, `BestEffort` when none asks for
    either, else `Burstable`."""
    any_asked, guaranteed = False, True
    whole = spec.get("resources")
    # Resources of the pod as a whole decide alone.
    holders = [spec] if whole else [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for container in holders:
        resources = container.get("resources") or {}
        requests, limits = _positive(resources.get("requests")), _positive(resources.get("limits"))
        any_asked = any_asked or bool(requests or limits)
        if len(limits) < len(_COUNTED) or any(requests.get(key, limits[key]) != limits[key] for key in _COUNTED):
            guaranteed = False
    if not any_asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(quantities: Obj | None) -> dict[str, Fraction]:
    if not quantities:
        return {}
    amounts = {key: amount_of(quantities[key]) for key in _COUNTED if key in quantities}
    return {key: amount for key, amount in amounts.items() if amount is not None and amount.numerator > 0}
