"""What each check across objects reads, and so what a change to an object can affect. Pure.

`local` are kinds of which a check reads only those of the namespace it reports on (for a Namespace: itself); `wide` are
kinds it reads of all namespaces. WORKLOADS stands for every kind that runs pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pilothouse.guard.cross import CROSS_CHECKS
from pilothouse.guard.podspec import WORKLOADS
from pilothouse.guard.snapshot import CrossCheck

PODS: Final = WORKLOADS


class Reads(NamedTuple):
    """See the module."""

    local: frozenset[str]
    wide: frozenset[str] = frozenset()


def _reads(local: str, wide: str = "") -> Reads:
    return Reads(_kinds(local), _kinds(wide))


def _kinds(text: str) -> frozenset[str]:
    named = set(text.split())
    return frozenset(named - {"PODS"}) | (PODS if "PODS" in named else frozenset())


_BINDINGS = "RoleBinding ClusterRoleBinding"
_REACH = _reads("PODS ServiceAccount", f"{_BINDINGS} Role ClusterRole")

READS: Final[Mapping[str, Reads]] = {
    "service-selects-nothing": _reads("Service PODS"),
    "service-target-port-unknown": _reads("Service PODS"),
    "ingress-service-missing": _reads("Ingress Service"),
    "stateful-set-service-missing": _reads("StatefulSet Service"),
    "service-monitor-selects-nothing": _reads("ServiceMonitor Service"),
    "autoscaler-target-missing": _reads("HorizontalPodAutoscaler PODS"),
    "autoscaled-with-replicas": _reads("HorizontalPodAutoscaler PODS"),
    "disruption-budget-selects-nothing": _reads("PodDisruptionBudget PODS"),
    "disruption-budget-cannot-be-met": _reads("PodDisruptionBudget PODS"),
    "disruption-budget-above-autoscaler": _reads("PodDisruptionBudget HorizontalPodAutoscaler PODS"),
    "disruption-budget-missing": _reads("PodDisruptionBudget PODS"),
    "network-policy-selects-nothing": _reads("NetworkPolicy PODS"),
    "network-policy-peer-selects-nothing": _reads("NetworkPolicy", "Namespace PODS"),
    "pod-ingress-not-isolated": _reads("NetworkPolicy PODS"),
    "pod-egress-not-isolated": _reads("NetworkPolicy PODS"),
    "namespace-ingress-open": _reads("Namespace NetworkPolicy"),
    "namespace-egress-open": _reads("Namespace NetworkPolicy"),
    "namespace-without-quota": _reads("Namespace ResourceQuota"),
    "namespace-without-limit-range": _reads("Namespace LimitRange"),
    "configuration-missing": _reads("PODS ConfigMap Secret"),
    "service-account-missing": _reads("PODS ServiceAccount"),
    "service-account-unused": _reads("ServiceAccount PODS", _BINDINGS),
    "binding-role-missing": _reads(f"{_BINDINGS} Role", "ClusterRole"),
    "role-unused": _reads("Role ClusterRole", _BINDINGS),
    "binding-subject-missing": _reads(_BINDINGS, "ServiceAccount PODS"),
    "binding-of-everything": _reads(f"{_BINDINGS} Role", "ClusterRole"),
    "pod-reads-secrets": _REACH,
    "pod-runs-commands": _REACH,
}
"""By check. A check that is not here is taken to read everything everywhere, which is right and slow."""


def reads_of(check: CrossCheck) -> Reads:
    """What a check reads."""
    return READS.get(check.check.id) or Reads(frozenset(), ALL_KINDS)


ALL_KINDS: Final = frozenset().union(*(reads.local | reads.wide for reads in READS.values()))
CHECKS: Final[Mapping[str, CrossCheck]] = {check.check.id: check for check in CROSS_CHECKS}
