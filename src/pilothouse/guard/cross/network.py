"""Network policies: pods without one, and policies without pods."""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES, CrossCheck, Entry, Hit, Snapshot, labels_of, selector_of


def _types(policy: Entry) -> set[str]:
    """The directions a policy isolates; unset means Ingress, and Egress when it has egress rules."""
    types = policy.at("spec.policyTypes")
    if isinstance(types, list) and types:
        return {str(entry) for entry in types}
    return {"Ingress", "Egress"} if policy.at("spec.egress") else {"Ingress"}


def _selects(policy: Entry, pod: Entry) -> bool:
    selector = selector_of(policy.at("spec.podSelector"))
    return selector is not None and selector.matches(pod.pod_labels)


def selects_nothing(snapshot: Snapshot) -> Iterator[Hit]:
    for policy in snapshot.of("NetworkPolicy"):
        selector = selector_of(policy.at("spec.podSelector"))
        if selector is not None and not selector.empty and not snapshot.selected(policy.namespace, selector):
            yield Hit(policy, "selects no pods", "spec.podSelector")


def peer_selects_nothing(snapshot: Snapshot) -> Iterator[Hit]:
    for policy in snapshot.of("NetworkPolicy"):
        for rules, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(policy.entries(f"spec.{rules}")):
                for place, peer in enumerate(rule.get(peers) or ()):
                    if _dangling(snapshot, policy, peer):
                        yield Hit(
                            policy, "names a peer that selects no pods", f"spec.{rules}[{index}].{peers}[{place}]"
                        )


def _dangling(snapshot: Snapshot, policy: Entry, peer: object) -> bool:
    selector = selector_of(peer.get("podSelector")) if isinstance(peer, dict) else None
    if not isinstance(peer, dict) or selector is None or selector.empty:
        return False
    namespaces = {policy.namespace}
    if "namespaceSelector" in peer:
        wanted = selector_of(peer["namespaceSelector"])
        labels = {entry.name: labels_of(entry.at("metadata.labels")) for entry in snapshot.of("Namespace")}
        own = {name: {**found, "kubernetes.io/metadata.name": name} for name, found in labels.items()}
        if wanted is None or not any(wanted.matches(found) for found in own.values()):
            return False  # the namespace is not among what is judged, so its pods are not either
        namespaces = {name for name, found in own.items() if wanted.matches(found)}
    return not any(snapshot.selected(namespace, selector) for namespace in namespaces)


def not_isolated(snapshot: Snapshot, direction: str) -> Iterator[Hit]:
    policies: dict[str, list[Entry]] = {}
    for policy in snapshot.of("NetworkPolicy"):
        if direction in _types(policy):
            policies.setdefault(policy.namespace, []).append(policy)
    for workload in snapshot.workloads():
        if not any(_selects(policy, workload) for policy in policies.get(workload.namespace, ())):
            yield Hit(workload, f"no NetworkPolicy limits {direction.lower()} of its pods", "metadata.name")


def no_default_deny(snapshot: Snapshot, direction: str) -> Iterator[Hit]:
    denied = {
        policy.namespace
        for policy in snapshot.of("NetworkPolicy")
        if direction in _types(policy)
        and (selector := selector_of(policy.at("spec.podSelector"))) is not None
        and selector.empty
        and policy.at(f"spec.{direction.lower()}") in (None, [])
    }
    for namespace in snapshot.of("Namespace"):
        if namespace.name not in denied | SYSTEM_NAMESPACES:
            yield Hit(namespace, f"has no NetworkPolicy that denies {direction.lower()} by default", "metadata.name")


def _deny(direction: str) -> str:
    head = "kind: NetworkPolicy\nmetadata: {name: default-deny}\nspec:\n  podSelector: {}\n"
    return f"{head}  policyTypes: [{direction}]"


CHECKS = (
    CrossCheck(
        Check(
            "network-policy-selects-nothing",
            "Network policy of no pods",
            Severity.MEDIUM,
            "security",
            "What it was written for is not protected.",
            "spec:\n  podSelector: {matchLabels: {app: NAME}}",
            "NSA/CISA",
            "kube-linter: dangling-networkpolicy; kube-score: networkpolicy-targets-pod",
        ),
        selects_nothing,
    ),
    CrossCheck(
        Check(
            "network-policy-peer-selects-nothing",
            "Network policy allows pods that do not exist",
            Severity.LOW,
            "security",
            "Whoever gets these labels later is let in.",
            "from:\n  - podSelector: {matchLabels: {app: NAME}}",
            other_names="kube-linter: dangling-networkpolicypeer-podselector",
        ),
        peer_selects_nothing,
    ),
    CrossCheck(
        Check(
            "pod-ingress-not-isolated",
            "Pods open to every other pod",
            Severity.MEDIUM,
            "security",
            "Any pod that is broken into can reach these.",
            _deny("Ingress"),
            "CIS 5.3.2; NSA/CISA; OWASP K05",
            "Polaris: missingNetworkPolicy; kube-linter: non-isolated-pod; kube-score: pod-networkpolicy",
        ),
        lambda snapshot: not_isolated(snapshot, "Ingress"),
    ),
    CrossCheck(
        Check(
            "pod-egress-not-isolated",
            "Pods may reach everything",
            Severity.LOW,
            "security",
            "Whoever breaks in can carry data anywhere.",
            _deny("Egress"),
            "NSA/CISA; OWASP K05",
            "Polaris: missingNetworkPolicy; kube-score: pod-networkpolicy",
        ),
        lambda snapshot: not_isolated(snapshot, "Egress"),
    ),
    CrossCheck(
        Check(
            "namespace-ingress-open",
            "No default-deny for ingress",
            Severity.MEDIUM,
            "security",
            "A pod that no policy mentions is open to all.",
            _deny("Ingress"),
            "CIS 5.3.2; NSA/CISA; OWASP K05",
        ),
        lambda snapshot: no_default_deny(snapshot, "Ingress"),
    ),
    CrossCheck(
        Check(
            "namespace-egress-open",
            "No default-deny for egress",
            Severity.LOW,
            "security",
            "A pod that no policy mentions may reach all.",
            _deny("Egress"),
            "NSA/CISA; OWASP K05",
        ),
        lambda snapshot: no_default_deny(snapshot, "Egress"),
    ),
)
