"""Disruption budgets and the workloads they are about."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import CrossCheck, Entry, Hit, Snapshot, selector_of

_REPLICATED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")


def _about(snapshot: Snapshot, budget: Entry) -> list[Entry]:
    selector = selector_of(budget.at("spec.selector"))
    return [] if selector is None else snapshot.selected(budget.namespace, selector)


def selects_nothing(snapshot: Snapshot) -> Iterator[Hit]:
    for budget in snapshot.of("PodDisruptionBudget"):
        if not _about(snapshot, budget):
            yield Hit(budget, "selects no pods", "spec.selector")


def cannot_be_met(snapshot: Snapshot) -> Iterator[Hit]:
    for budget in snapshot.of("PodDisruptionBudget"):
        replicas = sum(_replicas(entry) for entry in _about(snapshot, budget) if entry.ref.kind in _REPLICATED)
        least = _count(budget.at("spec.minAvailable"), replicas)
        if replicas and least is not None and least >= replicas:
            message = f"asks for {least} available pods of {replicas}, so none may ever be evicted"
            yield Hit(budget, message, "spec.minAvailable")


def above_autoscaler(snapshot: Snapshot) -> Iterator[Hit]:
    scaled: dict[tuple[str, object, object], list[Entry]] = {}
    for autoscaler in snapshot.of("HorizontalPodAutoscaler"):
        target = autoscaler.at("spec.scaleTargetRef") or {}
        scaled.setdefault((autoscaler.namespace, target.get("kind"), target.get("name")), []).append(autoscaler)
    for budget in snapshot.of("PodDisruptionBudget"):
        about = _about(snapshot, budget)
        for autoscaler in (found for e in about for found in scaled.get((e.namespace, e.ref.kind, e.name), ())):
            fewest = autoscaler.at("spec.minReplicas") or 1
            least = _count(budget.at("spec.minAvailable"), fewest) if isinstance(fewest, int) else None
            if least is not None and least >= fewest:
                message = f"asks for {least} available pods; autoscaler {autoscaler.name} goes down to {fewest}"
                yield Hit(budget, message, "spec.minAvailable")


def missing_budget(snapshot: Snapshot) -> Iterator[Hit]:
    covered = {entry.index for budget in snapshot.of("PodDisruptionBudget") for entry in _about(snapshot, budget)}
    for workload in snapshot.of("Deployment", "StatefulSet"):
        if workload.pod is not None and _replicas(workload) > 1 and workload.index not in covered:
            yield Hit(workload, "has several replicas and no PodDisruptionBudget", "spec.replicas")


def _replicas(entry: Entry) -> int:
    value = entry.at("spec.replicas")
    return value if isinstance(value, int) else 1


def _count(value: object, total: int) -> int | None:
    """A number or a percentage of a total, rounded up as the API does; None when unset or neither."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return math.ceil(int(value[:-1]) * total / 100)
    return None


CHECKS = (
    CrossCheck(
        Check(
            "disruption-budget-selects-nothing",
            "Disruption budget of no pods",
            Severity.MEDIUM,
            "reliability",
            "What it was written for is not protected.",
            "spec:\n  selector: {matchLabels: {app: NAME}}",
            other_names="kube-score: poddisruptionbudget-has-policy",
        ),
        selects_nothing,
    ),
    CrossCheck(
        Check(
            "disruption-budget-cannot-be-met",
            "Disruption budget no eviction can meet",
            Severity.MEDIUM,
            "reliability",
            "A node with such a pod cannot be drained.",
            "spec:\n  maxUnavailable: 1",
            other_names="Polaris: pdbDisruptionsIsZero; kube-linter: pdbs-min-available",
        ),
        cannot_be_met,
    ),
    CrossCheck(
        Check(
            "disruption-budget-above-autoscaler",
            "Disruption budget above the autoscaler's minimum",
            Severity.MEDIUM,
            "reliability",
            "When the autoscaler is at its minimum no pod may be evicted.",
            "spec:\n  maxUnavailable: 1",
            other_names="Polaris: pdbMinAvailableGreaterThanHPAMinReplicas",
        ),
        above_autoscaler,
    ),
    CrossCheck(
        Check(
            "disruption-budget-missing",
            "No disruption budget",
            Severity.LOW,
            "reliability",
            "Draining a node may take all replicas away at once.",
            "kind: PodDisruptionBudget\nspec:\n  maxUnavailable: 1\n  selector: {matchLabels: {app: NAME}}",
            other_names="Polaris: missingPodDisruptionBudget; kube-score: deployment-has-poddisruptionbudget",
        ),
        missing_budget,
    ),
)
