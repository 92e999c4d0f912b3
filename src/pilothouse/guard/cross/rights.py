"""Service accounts, roles and bindings: what is missing, unused, or reaches further than it seems."""

from __future__ import annotations

from collections.abc import Iterator

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import CrossCheck, Entry, Hit, Snapshot
from pilothouse.machinery.objects import Obj

_BUILT_IN = frozenset(("cluster-admin", "admin", "edit", "view"))
_BOOTSTRAPPING = "kubernetes.io/bootstrapping"
"""On the roles that a cluster brings along."""
_READS = frozenset(("get", "list", "watch", "*"))
_RUNS = frozenset(("pods/exec", "pods/attach", "pods/*", "*"))


def missing_account(snapshot: Snapshot) -> Iterator[Hit]:
    for workload in snapshot.workloads():
        name = workload.account
        if name != "default" and snapshot.find("ServiceAccount", workload.namespace, name) is None:
            assert workload.pod is not None
            yield Hit(workload, f"ServiceAccount {name} does not exist", f"{workload.pod.path}.serviceAccountName")


def unused_account(snapshot: Snapshot) -> Iterator[Hit]:
    used = snapshot.accounts
    bound = {key for _, _, subjects in _bindings(snapshot) for key in subjects}
    for account in snapshot.of("ServiceAccount"):
        key = account.namespace, account.name
        if account.name != "default" and key not in used and key not in bound:
            yield Hit(account, "is used by no pod and no binding", "metadata.name")


def missing_role(snapshot: Snapshot) -> Iterator[Hit]:
    for binding, role, _ in _bindings(snapshot):
        name, kind = str(binding.at("roleRef.name")), str(binding.at("roleRef.kind"))
        if role is None and name not in _BUILT_IN and not name.startswith("system:"):
            yield Hit(binding, f"binds {kind} {name}, which does not exist", "roleRef")


def unbound_role(snapshot: Snapshot) -> Iterator[Hit]:
    bound = {role.index for _, role, _ in _bindings(snapshot) if role is not None}
    for role in snapshot.of("Role", "ClusterRole"):
        aggregated = role.at("aggregationRule") or any(
            "aggregate-to" in key for key in role.at("metadata.labels") or ()
        )
        shipped = role.name.startswith("system:") or _BOOTSTRAPPING in (role.at("metadata.labels") or ())
        if role.index not in bound and not aggregated and not shipped:
            yield Hit(role, "is bound by nothing", "metadata.name")


def subject_without_use(snapshot: Snapshot) -> Iterator[Hit]:
    used = snapshot.accounts
    for binding, _, subjects in _bindings(snapshot):
        for namespace, name in subjects:
            if (namespace, name) not in used and snapshot.find("ServiceAccount", namespace, name) is None:
                yield Hit(
                    binding, f"grants rights to ServiceAccount {namespace}/{name}, which does not exist", "subjects"
                )


def binding_of_everything(snapshot: Snapshot) -> Iterator[Hit]:
    for binding, role, _ in _bindings(snapshot):
        if {str(subject.get("name")) for subject in binding.entries("subjects")} == {"system:masters"}:
            continue  # its members may do everything, whatever is bound
        if role is not None and any(_allows_everything(rule) for rule in role.entries("rules")):
            yield Hit(binding, f"binds {role.ref.kind} {role.name}, which may do everything", "roleRef")


def _allows_everything(rule: Obj) -> bool:
    return all("*" in (rule.get(key) or ()) for key in ("apiGroups", "resources", "verbs"))


def pod_reads_secrets(snapshot: Snapshot) -> Iterator[Hit]:
    yield from _reaching(snapshot, _reads_secrets, "may read Secrets")


def pod_runs_commands(snapshot: Snapshot) -> Iterator[Hit]:
    yield from _reaching(snapshot, _runs_commands, "may run commands in pods")


def _reaching(snapshot: Snapshot, allows: _Allows, what: str) -> Iterator[Hit]:
    granted: dict[tuple[str, str], str] = {}
    for binding, role, subjects in _bindings(snapshot):
        admin = binding.at("roleRef.name") == "cluster-admin"
        if admin or (role is not None and any(allows(rule) for rule in role.entries("rules"))):
            grant = f"{binding.ref.kind} {binding.name}"
            # Of several the first by name, so that the same objects in another order say the same.
            granted.update({key: min(grant, granted.get(key, grant)) for key in subjects})
    for workload in snapshot.workloads():
        by = granted.get((workload.namespace, workload.account))
        if by and workload.pod is not None and workload.pod.spec.get("automountServiceAccountToken") is not False:
            field = f"{workload.pod.path}.serviceAccountName"
            yield Hit(workload, f"its service account {workload.account} {what}, by {by}", field)


class _Allows:
    """A rule's test, by what resources and verbs it must name."""

    def __init__(self, resources: frozenset[str], verbs: frozenset[str]) -> None:
        self._resources = resources
        self._verbs = verbs

    def __call__(self, rule: Obj) -> bool:
        groups, resources, verbs = (set(rule.get(key) or ()) for key in ("apiGroups", "resources", "verbs"))
        return bool(groups & {"", "*"} and resources & self._resources and verbs & self._verbs)


_reads_secrets = _Allows(frozenset(("secrets", "*")), _READS)
_runs_commands = _Allows(_RUNS, frozenset(("create", "get", "*")))


def _bindings(snapshot: Snapshot) -> Iterator[tuple[Entry, Entry | None, list[tuple[str, str]]]]:
    """Each binding with its role and the service accounts (namespace, name) it is about."""
    cluster_roles = {entry.name: entry for entry in snapshot.of("ClusterRole")}
    for binding in snapshot.of("RoleBinding", "ClusterRoleBinding"):
        kind, name = str(binding.at("roleRef.kind")), str(binding.at("roleRef.name"))
        if kind == "ClusterRole":
            role = cluster_roles.get(name)
        else:
            role = snapshot.find(kind, binding.namespace, name)
        subjects = [
            (str(subject.get("namespace") or binding.namespace), str(subject.get("name")))
            for subject in binding.entries("subjects")
            if subject.get("kind") == "ServiceAccount"
        ]
        yield binding, role, subjects


CHECKS = (
    CrossCheck(
        Check(
            "binding-of-everything",
            "Binding of a role that may do everything",
            Severity.HIGH,
            "security",
            "It is cluster-admin by another name.",
            "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: A-NARROWER-ONE}",
            "CIS 5.1.1; CIS 5.1.3; NSA/CISA; OWASP K03",
            "Polaris: rolebindingClusterAdminRole",
        ),
        binding_of_everything,
    ),
    CrossCheck(
        Check(
            "service-account-missing",
            "Service account does not exist",
            Severity.HIGH,
            "reliability",
            "The API refuses the pods (unless the account is made elsewhere).",
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: NAME}\nautomountServiceAccountToken: false",
            other_names="kube-linter: non-existent-service-account",
        ),
        missing_account,
    ),
    CrossCheck(
        Check(
            "service-account-unused",
            "Service account without use",
            Severity.LOW,
            "hygiene",
            "An identity that nobody watches is one to be misused.",
            "# remove it, or name it in spec.serviceAccountName",
            "NSA/CISA",
        ),
        unused_account,
    ),
    CrossCheck(
        Check(
            "binding-role-missing",
            "Binding of a missing role",
            Severity.MEDIUM,
            "security",
            "Whoever makes a role of this name later decides what is granted.",
            "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}",
            "OWASP K03",
        ),
        missing_role,
    ),
    CrossCheck(
        Check(
            "binding-subject-missing",
            "Rights for a missing service account",
            Severity.MEDIUM,
            "security",
            "Whoever makes an account of this name later has the rights.",
            "subjects:\n  - {kind: ServiceAccount, name: NAME, namespace: NAMESPACE}",
            "OWASP K03",
        ),
        subject_without_use,
    ),
    CrossCheck(
        Check(
            "role-unused",
            "Role that nothing binds",
            Severity.LOW,
            "hygiene",
            "Rights that nobody needs wait for a mistaken binding.",
            "# remove it, or bind it",
            "NSA/CISA",
        ),
        unbound_role,
    ),
    CrossCheck(
        Check(
            "pod-reads-secrets",
            "Pod's service account may read Secrets",
            Severity.MEDIUM,
            "security",
            "Whoever breaks into the pod reads every Secret its role reaches.",
            "rules:\n  - {apiGroups: [''], resources: [secrets], resourceNames: [NAME], verbs: [get]}",
            "CIS 5.1.2; NSA/CISA; OWASP K03",
            "kube-linter: access-to-secrets",
        ),
        pod_reads_secrets,
    ),
    CrossCheck(
        Check(
            "pod-runs-commands",
            "Pod's service account may run commands in pods",
            Severity.HIGH,
            "security",
            "Whoever breaks into the pod is in every pod its role reaches.",
            "# take pods/exec and pods/attach out of the role",
            "CIS 5.1.4; NSA/CISA; OWASP K03",
            "Polaris: rolebindingRolePodExecAttach, rolebindingClusterRolePodExecAttach, "
            "clusterrolebindingPodExecAttach",
        ),
        pod_runs_commands,
    ),
)
