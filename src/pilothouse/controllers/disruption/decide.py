"""How many evictions a budget allows, decided from one snapshot. Pure.

Source of the rules, reasons and messages: upstream's disruption controller. The budget is written on the condition that
nobody wrote it meanwhile: an eviction that was just granted is never forgotten.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pilothouse.controllers.conditions import find
from pilothouse.controllers.pods import is_ready, is_terminal
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.kinds.view import Condition, LabelSelector
from pilothouse.machinery.objects import Obj, parse_timestamp, timestamp

ALLOWED = "DisruptionAllowed"
SUFFICIENT, INSUFFICIENT, FAILED = "SufficientPods", "InsufficientPods", "SyncFailed"
DELETION_SECONDS = 120.0
"""How long a pod whose eviction was granted counts as gone though nobody has deleted it."""
STALE_SECONDS = 120.0
"""How long a living pod may carry the condition DisruptionTarget before it is taken back."""
_TARGET = "DisruptionTarget"
_BY_NODE = "TerminationByKubelet"


class Owner(NamedTuple):
    """The workload that decides how many pods there are to be, and how many it wants."""

    uid: str
    replicas: int


class Note(NamedTuple):
    """An event about the budget."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`owners` tells for each controlling owner's uid what decides its size, or why that is not known."""

    budget: PodDisruptionBudget
    pods: Sequence[Pod]
    owners: Mapping[str, Owner | str]
    now: dt.datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """`status` is a merge patch (empty when nothing changes), `again` when to look without being asked, in seconds."""

    status: Obj
    notes: list[Note] = field(default_factory=list)
    again: float | None = None
    overdue: list[Pod] = field(default_factory=list)
    """Pods whose eviction was granted and that nobody deleted."""


class _Expected(NamedTuple):
    pods: int
    healthy: int
    unmanaged: bool = False
    problem: str = ""


def decide(snapshot: Snapshot) -> Plan:
    """The plan for one budget; `pods` are those its selector names."""
    budget, pods, now = snapshot.budget, snapshot.pods, snapshot.now
    expected = _expected(snapshot)
    if expected.problem:
        return _failed(budget, expected.problem, now)
    disrupted, overdue, again = _disrupted(budget, pods, now)
    healthy = sum(
        pod.metadata.deletion_timestamp is None and pod.name not in disrupted and is_ready(pod) for pod in pods
    )
    allowed = max(0, healthy - expected.healthy) if expected.pods > 0 else 0
    never = never_met(budget, expected.pods, expected.healthy)
    condition = (ALLOWED, "True", SUFFICIENT, "") if allowed else (ALLOWED, "False", INSUFFICIENT, never)
    wanted: Obj = {
        "observedGeneration": budget.metadata.generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": expected.healthy,
        "expectedPods": expected.pods,
    }
    status = _difference(budget, wanted, disrupted, condition, now)
    return Plan(status, _notes(snapshot, expected, never) if status else [], again, overdue)


def _notes(snapshot: Snapshot, expected: _Expected, never: str) -> list[Note]:
    notes = []
    if not snapshot.pods:
        notes.append(Note("Normal", "NoPods", "No matching pods found"))
    if expected.unmanaged:
        notes.append(
            Note(
                "Warning",
                "UnmanagedPods",
                f"Pods selected by this PodDisruptionBudget (selector: {_selector_text(snapshot.budget.spec.selector)})"
                " were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which"
                ' may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of'
                " the PDB to an integer value.",
            )
        )
    if never:
        notes.append(Note("Warning", "BudgetCannotBeMet", never))
    return notes


def never_met(budget: PodDisruptionBudget, expected: int, desired: int) -> str:
    """Why no eviction can ever be granted, though every pod is healthy; "" when one can."""
    if expected <= 0 or desired < expected:
        return ""
    spec = budget.spec
    asked = f"maxUnavailable {spec.max_unavailable}" if spec.max_unavailable is not None else ""
    asked = asked or f"minAvailable {spec.min_available}"
    return (
        f"no pod can ever be evicted: {asked} asks for {desired} healthy pods and there are to be {expected};"
        " draining a node with one of them waits for ever"
    )


def _failed(budget: PodDisruptionBudget, problem: str, now: dt.datetime) -> Plan:
    """Nothing may be evicted while it is not known how many pods there are to be."""
    old = budget.status
    status = _difference(
        budget, {"disruptionsAllowed": 0}, old.disrupted_pods, (ALLOWED, "False", FAILED, problem), now
    )
    message = f"Failed to calculate the number of expected pods: {problem}"
    return Plan(status, [Note("Warning", "CalculateExpectedPodCountFailed", message)] if status else [])


def _expected(snapshot: Snapshot) -> _Expected:
    """How many pods there are to be, and how many of them healthy."""
    spec, pods = snapshot.budget.spec, snapshot.pods
    if spec.max_unavailable is None:
        if spec.min_available is None:
            return _Expected(0, 0)
        if isinstance(spec.min_available, int):
            return _Expected(len(pods), spec.min_available)
    sizes: dict[str, int] = {}
    unmanaged = False
    for pod in pods:
        ref = pod.controller()
        if ref is None:
            unmanaged = True
            continue
        owner = snapshot.owners.get(ref.uid)
        if owner is None:
            return _Expected(0, 0, problem=f'found no controllers for pod "{pod.name}"')
        if isinstance(owner, str):
            return _Expected(0, 0, problem=owner)
        sizes[owner.uid] = owner.replicas
    total = sum(sizes.values())
    if spec.max_unavailable is not None:
        return _Expected(total, max(0, total - scaled(spec.max_unavailable, total)), unmanaged)
    return _Expected(total, scaled(spec.min_available or 0, total), unmanaged)


def scaled(amount: int | str, total: int) -> int:
    """A count, or a percentage of `total` rounded up."""
    if isinstance(amount, int):
        return amount
    return math.ceil(int(amount.removesuffix("%")) * total / 100)


def _disrupted(
    budget: PodDisruptionBudget, pods: Sequence[Pod], now: dt.datetime
) -> tuple[dict[str, str], list[Pod], float | None]:
    """Evictions that were granted and not seen yet, those that never came, and when the next one is given up."""
    kept: dict[str, str] = {}
    overdue: list[Pod] = []
    waits: list[float] = []
    for pod in pods:
        moment = budget.status.disrupted_pods.get(pod.name)
        if moment is None or pod.metadata.deletion_timestamp is not None:
            continue
        granted = parse_timestamp(moment)
        born = pod.metadata.creation_timestamp
        if born and parse_timestamp(born) > granted:
            # Another pod of the same name, as a StatefulSet makes it.
            continue
        left = DELETION_SECONDS - (now - granted).total_seconds()
        if left < 0:
            overdue.append(pod)
        else:
            kept[pod.name] = moment
            waits.append(left)
    return kept, overdue, min(waits) + 1.0 if waits else None


def _difference(
    budget: PodDisruptionBudget,
    wanted: Obj,
    disrupted: Mapping[str, str],
    condition: tuple[str, str, str, str],
    now: dt.datetime,
) -> Obj:
    """The status patch; empty when the status says it already."""
    old = budget.status
    before = {
        "observedGeneration": old.observed_generation,
        "disruptionsAllowed": old.disruptions_allowed,
        "currentHealthy": old.current_healthy,
        "desiredHealthy": old.desired_healthy,
        "expectedPods": old.expected_pods,
    }
    conditions = allowed_condition(old.conditions, condition, wanted.get("observedGeneration", 0), now)
    if (
        wanted.items() <= before.items()
        and dict(disrupted) == old.disrupted_pods
        and conditions is None
        and (old.conditions or not wanted)
    ):
        return {}
    # Counts that are 0 are written too: `kubectl` and people read them.
    status: Obj = {**before, **wanted}
    gone = dict.fromkeys(old.disrupted_pods.keys() - disrupted.keys())
    if disrupted or gone:
        status["disruptedPods"] = {**disrupted, **gone}
    if conditions is not None:
        status["conditions"] = conditions
    return status


def allowed_condition(
    old: Sequence[Condition], condition: tuple[str, str, str, str], generation: int, now: dt.datetime
) -> list[Obj] | None:
    """The conditions with this one (type, status, reason, message) in its place; None when it says so already."""
    type, status, reason, message = condition
    current = find(old, type)
    said = None if current is None else (current.type, current.status, current.reason, current.message)
    if current is not None and said == condition and current.observed_generation == generation:
        return None
    same = current is not None and current.status == status and current.last_transition_time
    new: Obj = {
        "type": type,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": current.last_transition_time if current is not None and same else timestamp(now),
        "reason": reason,
        "message": message,
    }
    return [new]


def stale_in(pod: Pod, now: dt.datetime) -> float | None:
    """Seconds until a living pod's DisruptionTarget is out of date; 0 when it is, None when there is none to watch."""
    if pod.metadata.deletion_timestamp is not None or is_terminal(pod):
        return None
    condition = find(pod.status.conditions, _TARGET)
    if condition is None or condition.status != "True" or condition.reason == _BY_NODE:
        return None
    if not condition.last_transition_time:
        return 0.0
    return max(0.0, STALE_SECONDS - (now - parse_timestamp(condition.last_transition_time)).total_seconds())


def _selector_text(selector: LabelSelector | None) -> str:
    """A selector as upstream prints it in this event."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"{{{entry.key} {entry.operator} [{' '.join(entry.values)}]}}," for entry in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
