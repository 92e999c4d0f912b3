"""Autoscalers and what they scale."""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import CrossCheck, Entry, Hit, Snapshot


def _target(snapshot: Snapshot, autoscaler: Entry) -> Entry | None:
    target = autoscaler.at("spec.scaleTargetRef") or {}
    return snapshot.find(str(target.get("kind")), autoscaler.namespace, str(target.get("name")))


def missing_target(snapshot: Snapshot) -> Iterator[Hit]:
    for autoscaler in snapshot.of("HorizontalPodAutoscaler"):
        target = autoscaler.at("spec.scaleTargetRef") or {}
        if _target(snapshot, autoscaler) is None:
            message = f"scales {target.get('kind')} {target.get('name')}, which does not exist"
            yield Hit(autoscaler, message, "spec.scaleTargetRef")


def fixed_replicas(snapshot: Snapshot) -> Iterator[Hit]:
    for autoscaler in snapshot.of("HorizontalPodAutoscaler"):
        target = _target(snapshot, autoscaler)
        if target is not None and target.at("spec.replicas") is not None:
            yield Hit(
                target, f"sets replicas, which HorizontalPodAutoscaler {autoscaler.name} changes", "spec.replicas"
            )


CHECKS = (
    CrossCheck(
        Check(
            "autoscaler-target-missing",
            "Autoscaler of a missing workload",
            Severity.HIGH,
            "reliability",
            "Nothing is ever scaled.",
            "spec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}",
            other_names="kube-linter: dangling-horizontalpodautoscaler; kube-score: horizontalpodautoscaler-has-target",
        ),
        missing_target,
    ),
    CrossCheck(
        Check(
            "autoscaled-with-replicas",
            "Replicas set on an autoscaled workload",
            Severity.MEDIUM,
            "reliability",
            "Every deployment sets the number back, in the middle of a load peak too.",
            "# remove spec.replicas from the workload",
            other_names="kube-score: deployment-targeted-by-hpa-does-not-have-replicas-configured",
        ),
        fixed_replicas,
    ),
)
