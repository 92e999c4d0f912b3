"""Findings about rights: accounts of workloads that get to cluster-admin, to every Secret or to a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson

from pilothouse.guard.access.offers import CLUSTER_ADMIN, NODE, SECRETS
from pilothouse.guard.access.read import LEVEL, pod_facts
from pilothouse.guard.access.rights import account, rights_of
from pilothouse.guard.access.spread import Cluster, PodFacts, State, Step
from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.live.dependencies import PODS
from pilothouse.guard.live.world import World
from pilothouse.guard.podspec import pod_spec
from pilothouse.guard.snapshot import SYSTEM_NAMESPACES, account_of
from pilothouse.kinds.rbac.role import ClusterRole, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.objects import Obj

SOURCE = "access"
_REMEDY = "# take away the right that the first step names; see `pilothouse access paths sa:NAMESPACE/NAME`"
_WHY = "Whoever breaks into one of its pods has it too."
ADMIN = Check("access-to-cluster-admin", "Account that gets to cluster-admin", Severity.HIGH, "security", _WHY, _REMEDY)
ALL_SECRETS = Check(
    "access-to-all-secrets", "Account that reads every Secret", Severity.HIGH, "security", _WHY, _REMEDY, "CIS 5.1.2"
)
ROOT = Check("access-to-nodes", "Account that gets to be root on a node", Severity.HIGH, "security", _WHY, _REMEDY)
RULES = {State(CLUSTER_ADMIN): ADMIN, State(SECRETS): ALL_SECRETS, State(NODE): ROOT}
RBAC_KINDS = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"})


def documents_of(world: World) -> dict[str, list[bytes]]:
    """The objects that decide how far rights reach, by kind, to be read elsewhere than in the event loop."""
    kinds = (*RBAC_KINDS, "Namespace", *PODS)
    return {kind: [entry.document for entry in world.kinds.get(kind, {}).values()] for kind in kinds}


def cluster_of(documents: Mapping[str, Sequence[bytes]]) -> Cluster:
    """What decides how far rights reach; workloads stand for their pods."""

    def trees(*kinds: str) -> Iterable[Obj]:
        return (orjson.loads(document) for kind in kinds for document in documents[kind])

    rights = rights_of(
        [from_tree(ClusterRole, tree) for tree in trees("ClusterRole")],
        [from_tree(Role, tree) for tree in trees("Role")],
        [from_tree(ClusterRoleBinding, tree) for tree in trees("ClusterRoleBinding")],
        [from_tree(RoleBinding, tree) for tree in trees("RoleBinding")],
    )
    accounts = {
        (tree["metadata"]["namespace"], tree["metadata"]["name"]): tree.get("automountServiceAccountToken") is not False
        for tree in trees("ServiceAccount")
    }
    privileged = {
        tree["metadata"]["name"]
        for tree in trees("Namespace")
        if (tree["metadata"].get("labels") or {}).get(LEVEL) == "privileged"
        or tree["metadata"]["name"] == "kube-system"
    }
    pods = [pod for tree in trees(*PODS) if (pod := _pod(tree, accounts)) is not None]
    return Cluster(rights, sorted(accounts), pods, frozenset(privileged))


def _pod(tree: Obj, accounts: Mapping[tuple[str, str], bool]) -> PodFacts | None:
    pod = pod_spec(tree)
    if pod is None:
        return None
    namespace = tree["metadata"].get("namespace", "")
    meta = {"namespace": namespace, "name": f"{tree['kind']}/{tree['metadata']['name']}"}
    return pod_facts({"metadata": meta, "spec": pod.spec}, accounts.get((namespace, account_of(pod)), True))


def reports(cluster: Cluster, accounts: Sequence[tuple[str, str]]) -> list[Report]:
    """What there is to say of accounts that workloads run as, outside the system's namespaces."""
    made = []
    for namespace, name in accounts:
        if namespace in SYSTEM_NAMESPACES:
            continue
        subject = account(namespace, name)
        ways = cluster.paths(State("subject", subject.name, subject))
        ref = Ref("v1", "ServiceAccount", namespace, name)
        found = tuple(_found(ref, RULES[state], ways[state]) for state in RULES if state in ways)
        made.append(Report(SOURCE, f"{namespace}/{name}", found))
    return made


def _found(ref: Ref, check: Check, way: list[Step]) -> Found:
    told = "; ".join(f"{step.source} {step.does} {step.target} (by {step.by})" for step in way[:8])
    return Found(Finding(check, ref, f"in {len(way)} steps" if len(way) > 1 else "at once"), {"path": told})
