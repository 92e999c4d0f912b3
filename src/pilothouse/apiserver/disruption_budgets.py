"""Whether a pod may be evicted under the budgets that cover it, and what a granted eviction costs. Pure.

Source of rules and wording: upstream's eviction subresource.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Literal

from pilothouse.machinery.errors import ApiError, Cause, Forbidden, InternalError, TooManyRequests
from pilothouse.machinery.objects import Obj, Resource, timestamp
from pilothouse.machinery.selectors import from_label_selector

BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True)
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_MOST_DISRUPTED = 2000
"""Granted evictions that the budget's controller has not seen yet; more are refused."""
_RETRY_SECONDS = 10
_VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."

Bearing = Literal["unhealthy", "counts"]
"""What a budget has to say about one pod: nothing as long as the pod stays unready, or that it costs a disruption."""


def needs_no_budget(pod: Obj) -> bool:
    """Whether the pod disrupts nothing when it goes: it has ended, has not begun, or is going already."""
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def may_become_ready(pod: Obj) -> bool:
    """Whether the answer of `needs_no_budget` may change under our feet."""
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    return phase == "Pending" and not pod["metadata"].get("deletionTimestamp")


def covering(pod: Obj, budgets: Iterable[Obj]) -> list[Obj]:
    """The budgets whose selector names the pod: an empty one names every pod of the namespace, a broken one none."""
    labels, found = pod["metadata"].get("labels"), []
    for budget in budgets:
        try:
            selector = from_label_selector((budget.get("spec") or {}).get("selector"))
        except ValueError:
            continue
        if selector.matches(labels):
            found.append(budget)
    return found


def bearing(pod: Obj, budget: Obj) -> Bearing:
    """What the budget has to say about this pod."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions):
        return "counts"
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return "unhealthy"
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy", 0)
    return "unhealthy" if desired > 0 and status.get("currentHealthy", 0) >= desired else "counts"


def spend(budget: Obj, pod_name: str, now: dt.datetime) -> None:
    """Takes one disruption from the budget, in place. Raises TooManyRequests, Forbidden when there is none."""
    meta, status = budget["metadata"], budget.setdefault("status", {})
    name, allowed = meta["name"], status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        raise being_processed(name)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    disrupted = status.setdefault("disruptedPods", {})
    if len(disrupted) > _MOST_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if not allowed:
        raise TooManyRequests(_VIOLATES, causes=[Cause("", "DisruptionBudget", _why(name, status))])
    status["disruptionsAllowed"] = allowed - 1
    disrupted[pod_name] = timestamp(now)
    if allowed == 1:
        _exhausted(status, meta.get("generation", 0), timestamp(now))


def _why(name: str, status: Obj) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionAllowed" and condition.get("reason") == "SyncFailed":
            return (
                f"The disruption budget {name} does not allow evicting pods currently because it failed sync:"
                f" {condition.get('message', '')}"
            )
    desired, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    return f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"


def _exhausted(status: Obj, generation: int, moment: str) -> None:
    new = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": generation,
        "lastTransitionTime": moment,
        "reason": "InsufficientPods",
        "message": "",
    }
    others = [c for c in status.get("conditions") or () if c.get("type") != new["type"]]
    status["conditions"] = [*others, new]


def being_processed(name: str) -> TooManyRequests:
    """The budget's numbers are not known to hold at this moment: ask again."""
    return TooManyRequests(
        _VIOLATES,
        causes=[Cause("", "DisruptionBudget", f"The disruption budget {name} is still being processed by the server.")],
        retry_after_seconds=_RETRY_SECONDS,
    )


def _forbidden(name: str, why: str) -> Forbidden:
    return Forbidden(
        f'poddisruptionbudgets.policy "{name}" is forbidden: {why}',
        group="policy",
        kind="poddisruptionbudgets",
        name=name,
    )


def several() -> ApiError:
    """A pod under several budgets: which one to charge is not defined."""
    return InternalError(SEVERAL)
