"""What rights offer to whoever has them: the steps of a path, without where they lead to in a cluster. Pure.

Sources: Kubernetes documentation, "RBAC Good Practices" (privilege escalation risks), "User impersonation",
"Certificate Signing Requests".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pilothouse.guard.access.rights import ALL, Asked, Grant, allows

CLUSTER_ADMIN, SECRETS, NODE, GUARD = "cluster-admin", "secrets", "node", "guard"
ANY: Final = frozenset({"*"})
_RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io"
_CERTIFICATES: Final = "certificates.k8s.io"
_GUARD_GROUP: Final = "guard.pilothouse.dev"
_WRITE: Final = "create update patch"
_CHANGE: Final = "update patch"
_REMOVE: Final = "update patch delete deletecollection"


class Need(NamedTuple):
    """Any of the verbs on a resource. A right on the objects of `names` alone is enough too."""

    verbs: str
    group: str
    resource: str
    names: tuple[str, ...] = ()


class Offer(NamedTuple):
    """What rights that are needed together lead to."""

    does: str
    target: str
    needs: tuple[Need, ...]


def _approval(signer: str) -> tuple[Need, ...]:
    return (
        Need("approve", _CERTIFICATES, "signers", (f"kubernetes.io/{signer}", "kubernetes.io/*")),
        Need(_CHANGE, _CERTIFICATES, "certificatesigningrequests/approval"),
        Need("create", _CERTIFICATES, "certificatesigningrequests"),
    )


EVERYWHERE: Final = (
    Offer("may do everything", CLUSTER_ADMIN, (Need("*", "*", "*"),)),
    Offer(
        "may give ClusterRoles rights it lacks",
        CLUSTER_ADMIN,
        (Need("escalate", _RBAC, "clusterroles"), Need(_CHANGE, _RBAC, "clusterroles")),
    ),
    Offer(
        "may bind cluster-admin",
        CLUSTER_ADMIN,
        (Need("bind", _RBAC, "clusterroles", ("cluster-admin",)), Need(_WRITE, _RBAC, "clusterrolebindings")),
    ),
    Offer(
        "may have every write pass a webhook of its own",
        CLUSTER_ADMIN,
        (Need(_WRITE, _ADMISSION, "mutatingwebhookconfigurations"),),
    ),
    Offer(
        "may have every write changed by a policy of its own",
        CLUSTER_ADMIN,
        (
            Need("create", _ADMISSION, "mutatingadmissionpolicies"),
            Need("create", _ADMISSION, "mutatingadmissionpolicybindings"),
        ),
    ),
    Offer(
        "may change policies that change writes",
        CLUSTER_ADMIN,
        (Need(_CHANGE, _ADMISSION, "mutatingadmissionpolicies"),),
    ),
    Offer("may approve a client certificate for any name", CLUSTER_ADMIN, _approval("kube-apiserver-client")),
    Offer(
        "may have every Secret that is written sent to a server of its own",
        SECRETS,
        (Need(_WRITE, _ADMISSION, "validatingwebhookconfigurations"),),
    ),
    Offer("may run commands in every pod of a node", NODE, (Need("create get", "", "nodes/proxy"),)),
    Offer("may create volumes that are a path of a node", NODE, (Need("create", "", "persistentvolumes"),)),
    *(
        Offer(f"may take away or change {resource}", GUARD, (Need(_REMOVE, _ADMISSION, resource),))
        for resource in (
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
        )
    ),
)
"""What rights that count everywhere lead to."""
APPROVES_NODES: Final = _approval("kube-apiserver-client-kubelet")
IN_A_NAMESPACE: Final = (
    Offer("may read Secrets", SECRETS, (Need("get list watch", "", "secrets"),)),
    Offer(
        "may grant exemptions from checks",
        GUARD,
        (Need("approve", _GUARD_GROUP, "exemptions"), Need(_CHANGE, _GUARD_GROUP, "exemptions/status")),
    ),
)
GIVES_RIGHTS: Final = (
    (
        "may give Roles rights it lacks, and so",
        (Need("escalate", _RBAC, "roles"), Need(_CHANGE, _RBAC, "roles")),
    ),
    (
        "may bind roles it lacks, and so",
        (Need("bind", _RBAC, "clusterroles", ("cluster-admin", "admin", "edit")), Need(_WRITE, _RBAC, "rolebindings")),
    ),
)
"""What gives somebody every right in a namespace."""
WORKLOADS: Final = (
    Need("create", "", "pods"),
    *(Need(_WRITE, "", "replicationcontrollers"),),
    *(Need(_WRITE, "apps", plural) for plural in ("deployments", "daemonsets", "statefulsets", "replicasets")),
    Need("create", "batch", "jobs"),
    Need(_WRITE, "batch", "cronjobs"),
)
"""What makes pods of one's own wording: a controller makes them on behalf of whoever writes its object."""
ENTERS: Final = (
    ("may run commands in", "create get", "pods/exec"),
    ("may run commands in", "create get", "pods/attach"),
    ("may put a container into", _CHANGE, "pods/ephemeralcontainers"),
    ("may change the image of", _CHANGE, "pods"),
)
"""Ways into a pod that runs."""


class Can:
    """What some grants allow together, in a namespace ("" for everywhere)."""

    def __init__(self, grants: Sequence[Grant], namespace: str) -> None:
        self.namespace = namespace
        self._grants = grants
        self._about = {entry for grant in grants for rule in grant.rules for entry in rule.resources}
        self._widely = any(entry.startswith(ALL) for entry in self._about)

    def __call__(self, *needs: Need) -> str:
        """The bindings that give all of these; "" when one is not given, or when the namespace adds nothing to what
        counts everywhere."""
        by: dict[str, bool] = {}
        for need in needs:
            grant = self._giving(need)
            if grant is None:
                return ""
            by[str(grant)] = grant.namespace == self.namespace
        return " and ".join(by) if any(by.values()) else ""

    def names(self, verb: str, resource: str) -> frozenset[str]:
        """The names that rights on a resource of the core group are about; `ANY` for whatever name."""
        if not self._concerns(resource):
            return frozenset()
        rules = [rule for grant in self._grants for rule in grant.rules if verb in rule.verbs or ALL in rule.verbs]
        plural, _, sub = resource.partition("/")
        found: set[str] = set()
        for rule in rules:
            of = rule.resource_names or [""]
            if any(allows(rule, Asked(verb, "", plural, sub, self.namespace, name)) for name in of):
                if not rule.resource_names:
                    return ANY
                found.update(rule.resource_names)
        return frozenset(found)

    def workload(self) -> tuple[str, str]:
        """The first resource that makes pods, and the bindings that let somebody write it; ("", "") without."""
        makers = ((need.resource, self(need)) for need in WORKLOADS)
        return next(((resource, by) for resource, by in makers if by), ("", ""))

    def _concerns(self, resource: str) -> bool:
        """Whether any rule is about a resource: most are not, and need no closer look."""
        return self._widely or resource in self._about

    def _giving(self, need: Need) -> Grant | None:
        if not self._concerns(need.resource):
            return None
        plural, _, sub = need.resource.partition("/")
        asked = [
            Asked(verb, need.group, plural, sub, self.namespace, name)
            for verb in need.verbs.split()
            for name in ("", *need.names)
        ]
        for grant in self._grants:
            if any(allows(rule, one) for rule in grant.rules for one in asked):
                return grant
        return None


def named(can: Can, verbs: str, resource: str) -> Iterator[tuple[str, str]]:
    """The names of objects on which somebody has a right for these alone, with the bindings that give it."""
    for verb in verbs.split():
        for name in sorted(can.names(verb, resource) - ANY):
            if by := can(Need(verb, "", resource, (name,))):
                yield name, by
