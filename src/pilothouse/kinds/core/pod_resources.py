"""Resources of a pod as a whole, shared by its containers. Source: Kubernetes' `validatePodResources` and defaults."""

from __future__ import annotations

from fractions import Fraction

from pilothouse.kinds.core.quantities import amount_of
from pilothouse.kinds.core.resource_validation import check_resources
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import Quantity

SHARED = ("cpu", "memory")


def default_pod_resources(spec: Obj) -> None:
    """A limit without a request: the request is what the containers ask for together, else the limit."""
    resources = spec.get("resources")
    if not resources or not resources.get("limits"):
        return
    requests = resources.setdefault("requests", {})
    for name, limit in resources["limits"].items():
        if name in requests or name not in SHARED:
            continue
        asked = _sum(spec, "requests", name)
        requests[name] = _text(asked, limit) if asked else limit


def check_pod_resources(spec: Obj, path: str, problems: Problems) -> None:
    """Only what containers can share, and not less than they ask for together."""
    resources = spec.get("resources") or {}
    at = f"{path}.resources"
    for side in ("limits", "requests"):
        for name in resources.get(side) or {}:
            if name not in SHARED:
                problems.unsupported(f"{at}.{side}[{name}]", name, SHARED)
    check_resources(resources, at, problems)
    for name in SHARED:
        asked = (resources.get("requests") or {}).get(name)
        total = _sum(spec, "requests", name)
        if asked is not None and (amount := amount_of(asked)) is not None and amount < total:
            detail = f"must be greater than or equal to aggregate container requests of {_text(total, asked)}"
            problems.invalid(f"{at}.requests[{name}]", asked, detail)
        bound = (resources.get("limits") or {}).get(name)
        if bound is None or (most := amount_of(bound)) is None:
            continue
        for key in ("initContainers", "containers"):
            for index, container in enumerate(spec.get(key) or ()):
                own = ((container.get("resources") or {}).get("limits") or {}).get(name)
                if own is not None and (amount := amount_of(own)) is not None and amount > most:
                    where = f"{path}.{key}[{index}].resources.limits[{name}]"
                    problems.invalid(where, own, f"must be less than or equal to pod limits of {bound}")


def _together(spec: Obj) -> list[Obj]:
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return [*(spec.get("containers") or ()), *sidecars]


def _sum(spec: Obj, side: str, name: str) -> Fraction:
    texts = [((c.get("resources") or {}).get(side) or {}).get(name) for c in _together(spec)]
    return sum((amount_of(text) or Fraction(0) for text in texts if text is not None), Fraction(0))


def _text(amount: Fraction, like: str) -> str:
    """The amount as a quantity, in the notation of another."""
    return str(Quantity.parse(like)._replace(value=amount))
