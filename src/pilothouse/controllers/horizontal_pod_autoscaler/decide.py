"""What one autoscaler does, decided from one snapshot. Pure.

Source of the rules, reasons and messages: upstream's horizontal controller. One thing differs: that several autoscalers
want the same pods is found before anything is scaled, else two with different bounds would pull a target to and fro.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, NamedTuple

from pilothouse.controllers.conditions import conditions_tree, find, with_condition
from pilothouse.controllers.horizontal_pod_autoscaler.measure import measure
from pilothouse.controllers.horizontal_pod_autoscaler.rates import Bounds, History, Said, normalise
from pilothouse.controllers.horizontal_pod_autoscaler.usage import Tolerance, Unmeasured
from pilothouse.controllers.horizontal_pod_autoscaler.world import MetricsAnswer, World
from pilothouse.controllers.scaling import Scale
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler, HPAScalingRules
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Condition
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.machinery.quantity import InvalidQuantity, parse_quantity
from pilothouse.machinery.selector_text import parse_label_selector


class Note(NamedTuple):
    """An event about the autoscaler."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`scale` is the target's size, or why it is not known; `pods` those its selector names; `rivals` the keys of all
    autoscalers, this one included, whose targets have some of the same pods; `metrics` the answers by question."""

    autoscaler: HorizontalPodAutoscaler
    scale: Scale | str
    now: dt.datetime
    history: History = field(default_factory=History)
    pods: Sequence[Pod] = ()
    rivals: Sequence[str] = ()
    metrics: Mapping[str, MetricsAnswer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """`rescale` is the size to set (None: leave it), `reason` why. What follows from doing it says `outcome`."""

    autoscaler: HorizontalPodAutoscaler
    now: dt.datetime
    conditions: list[Condition]
    history: History
    current: int | None = None
    rescale: int | None = None
    reason: str = ""
    desired: int | None = None
    """None: as the status has it."""
    measured: list[Obj] | None = None
    notes: list[Note] = field(default_factory=list)


def decide(snapshot: Snapshot) -> Plan:
    """The plan for one autoscaler."""
    autoscaler, now, scale = snapshot.autoscaler, snapshot.now, snapshot.scale
    if isinstance(scale, str):
        said = Said(
            "False", "FailedGetScale", f"the HPA controller was unable to get the target's current scale: {scale}"
        )
        conditions = _with(autoscaler.status.conditions, "AbleToScale", said, now)
        return Plan(autoscaler, now, conditions, snapshot.history, notes=[Note("Warning", "FailedGetScale", scale)])
    able = Said("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
    plan = Plan(
        autoscaler,
        now,
        _with(autoscaler.status.conditions, "AbleToScale", able, now),
        snapshot.history.begun(scale.wanted, now),
        current=scale.wanted,
    )
    return _sized(snapshot, plan, scale)


def _sized(snapshot: Snapshot, plan: Plan, scale: Scale) -> Plan:
    spec, current = snapshot.autoscaler.spec, scale.wanted
    least = 1 if spec.min_replicas is None else spec.min_replicas
    if current == 0 and least != 0:
        said = Said("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
        return _say(replace(plan, desired=0, measured=[]), "ScalingActive", said)
    refused = _refusal(snapshot, scale)
    if refused is not None:
        reason, event, message = refused
        inactive = _say(plan, "ScalingActive", Said("False", reason, message))
        failed = _failed(1, 1, message) if not spec.metrics else message
        return replace(
            inactive,
            notes=[Note("Warning", event, message), Note("Warning", "FailedComputeMetricsReplicas", failed)],
        )
    if current > spec.max_replicas:
        return replace(
            plan, rescale=spec.max_replicas, reason="Current number of replicas above Spec.MaxReplicas", measured=[]
        )
    if current < least:
        return replace(plan, rescale=least, reason="Current number of replicas below Spec.MinReplicas", measured=[])
    return _by_metrics(snapshot, plan, scale, least)


def _refusal(snapshot: Snapshot, scale: Scale) -> tuple[str, str, str] | None:
    """Reason, event and message of a selector that no size can be computed from."""
    if not scale.selector:
        return "InvalidSelector", "SelectorRequired", "the HPA target's scale is missing a selector"
    try:
        parse_label_selector(scale.selector)
    except (BadRequest, ValueError) as error:
        why = f"couldn't convert selector into a corresponding internal selector object: {error}"
        return "InvalidSelector", "InvalidSelector", why
    if len(snapshot.rivals) > 1:
        rivals = " ".join(snapshot.rivals)
        why = f"pods by selector {scale.selector} are controlled by multiple HPAs: [{rivals}]"
        return "AmbiguousSelector", "AmbiguousSelector", why
    return None


def _by_metrics(snapshot: Snapshot, plan: Plan, scale: Scale, least: int) -> Plan:
    spec, current, now = snapshot.autoscaler.spec, scale.wanted, snapshot.now
    best, name, failures = -1, "", []
    measured: list[Obj] = []
    notes: list[Note] = []
    world = World(scale, snapshot.pods, snapshot.metrics, _tolerance(snapshot.autoscaler), now)
    for metric in spec.metrics:
        try:
            found = measure(metric, world)
        except Unmeasured as error:
            reason, inner = error.args[1], error.args[2]
            said = Said("False", reason, f"the HPA was unable to compute the replica count: {inner}")
            failures.append((said, str(error.args[0])))
            notes.append(Note("Warning", reason, inner))
            measured.append({"type": ""})
            continue
        measured.append(found.status)
        if found.replicas > best:
            best, name = found.replicas, found.name
    plan = replace(plan, measured=measured, notes=notes)
    if failures and (len(failures) >= len(spec.metrics) or best < current):
        message = _failed(len(failures), len(spec.metrics), failures[0][1])
        notes.append(Note("Warning", "FailedComputeMetricsReplicas", message))
        return _say(plan, "ScalingActive", failures[0][0])
    active = Said("True", "ValidMetricFound", f"the HPA was able to successfully calculate a replica count from {name}")
    normal = normalise(plan.history, spec.behavior, current, best, Bounds(least, spec.max_replicas), now)
    plan = _say(_say(_say(plan, "ScalingActive", active), "AbleToScale", normal.able), "ScalingLimited", normal.limited)
    plan = replace(plan, history=normal.history, desired=normal.replicas)
    if normal.replicas == current:
        return plan
    reason = f"{name} above target" if best > current else "All metrics below target"
    return replace(plan, rescale=normal.replicas, reason=reason)


def _failed(invalid: int, every: int, first: str) -> str:
    return f"invalid metrics ({invalid} invalid out of {every}), first error is: {first}"


def _tolerance(autoscaler: HorizontalPodAutoscaler) -> Tolerance:
    behavior = autoscaler.spec.behavior
    if behavior is None:
        return Tolerance()
    return Tolerance(_allowed(behavior.scale_down), _allowed(behavior.scale_up))


def _allowed(rules: HPAScalingRules | None) -> Fraction:
    usual = Tolerance().up
    if rules is None or rules.tolerance is None:
        return usual
    try:
        return parse_quantity(rules.tolerance)
    except InvalidQuantity:
        return usual


def _say(plan: Plan, type: str, said: Said) -> Plan:
    return replace(plan, conditions=_with(plan.conditions, type, said, plan.now))


def _with(old: list[Condition], type: str, said: Said, now: dt.datetime) -> list[Condition]:
    current = find(old, type)
    if current is not None and (current.status, current.reason, current.message) == said:
        return old
    return with_condition(old, Condition(type=type, status=said.status, reason=said.reason, message=said.message), now)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is a merge patch, empty when nothing changes."""

    status: Obj
    notes: list[Note]
    history: History


def outcome(plan: Plan, error: str = "") -> Outcome:
    """What is to be written after the plan was carried out; `error` says why the target could not be scaled."""
    notes, history = list(plan.notes), plan.history
    old = plan.autoscaler.status
    desired = plan.desired if plan.desired is not None else old.desired_replicas
    scaled_at = old.last_scale_time
    size = plan.rescale
    if size is not None and error:
        notes.append(Note("Warning", "FailedRescale", f"New size: {size}; reason: {plan.reason}; error: {error}"))
        why = f"the HPA controller was unable to update the target scale: {error}"
        plan = _say(plan, "AbleToScale", Said("False", "FailedUpdateScale", why))
        desired = old.desired_replicas
    elif size is not None:
        notes.append(Note("Normal", "SuccessfulRescale", f"New size: {size}; reason: {plan.reason}"))
        done = f"the HPA controller was able to update the target scale to {size}"
        plan = _say(plan, "AbleToScale", Said("True", "SucceededRescale", done))
        history = history.scaled(plan.autoscaler.spec.behavior, plan.current or 0, size, plan.now)
        desired, scaled_at = size, timestamp(plan.now)
    return Outcome(_status(plan, desired, scaled_at), notes, history)


def _status(plan: Plan, desired: int, scaled_at: str | None) -> Obj:
    old = plan.autoscaler.status
    status: Obj = {}
    if plan.conditions != old.conditions:
        status["conditions"] = conditions_tree(plan.conditions)
    if plan.current is not None and (plan.current != old.current_replicas or desired != old.desired_replicas):
        status["currentReplicas"], status["desiredReplicas"] = plan.current, desired
    if plan.measured is not None and plan.measured != old.current_metrics:
        status["currentMetrics"] = plan.measured or None
    if scaled_at != old.last_scale_time:
        status["lastScaleTime"] = scaled_at
    return status
