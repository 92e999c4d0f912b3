"""What a namespace should have: a quota, a range of limits."""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES, CrossCheck, Hit, Snapshot


def without(snapshot: Snapshot, kind: str) -> Iterator[Hit]:
    having = {entry.namespace for entry in snapshot.of(kind)}
    for namespace in snapshot.of("Namespace"):
        if namespace.name not in having | SYSTEM_NAMESPACES:
            yield Hit(namespace, f"has no {kind}", "metadata.name")


CHECKS = (
    CrossCheck(
        Check(
            "namespace-without-quota",
            "Namespace without a quota",
            Severity.LOW,
            "efficiency",
            "One team's mistake can take the whole cluster's capacity.",
            'kind: ResourceQuota\nspec:\n  hard: {requests.cpu: "4", requests.memory: 8Gi, pods: "40"}',
            "NSA/CISA",
        ),
        lambda snapshot: without(snapshot, "ResourceQuota"),
    ),
    CrossCheck(
        Check(
            "namespace-without-limit-range",
            "Namespace without default limits",
            Severity.LOW,
            "efficiency",
            "Containers that name no resources stay without.",
            "kind: LimitRange\nspec:\n  limits:\n    - {type: Container, defaultRequest: {cpu: 100m, memory: 128Mi}}",
            "NSA/CISA",
        ),
        lambda snapshot: without(snapshot, "LimitRange"),
    ),
)
