"""How rights lead to further rights."""

from __future__ import annotations

import pytest

from pilothouse.cli.access import path_lines, shortest
from pilothouse.guard.access.read import pod_facts
from pilothouse.guard.access.rights import Grant, Rights, Subject, account, parse_subject
from pilothouse.guard.access.spread import TARGETS, Cluster, PodFacts, State
from pilothouse.kinds.rbac.role import PolicyRule
from pilothouse.machinery.objects import Obj

RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
CERTIFICATES = "certificates.k8s.io"
GUARD = "guard.pilothouse.dev"


def may(who: str, verbs: str, what: str, *, group: str = "", namespace: str = "", names: str = "") -> Grant:
    rule = PolicyRule(verbs=verbs.split(), api_groups=[group], resources=what.split(), resource_names=names.split())
    kind = f"RoleBinding {namespace}/b" if namespace else f"ClusterRoleBinding {what.replace('/', '-')}"
    return Grant(parse_subject(who), namespace, kind, f"ClusterRole {what}", (rule,))


def cluster(*grants: Grant, pods: tuple[PodFacts, ...] = (), privileged: tuple[str, ...] = ()) -> Cluster:
    rights = Rights()
    for grant in grants:
        rights.grants.setdefault(grant.subject, []).append(grant)
    accounts = [("shop", "app"), ("shop", "default"), ("ops", "root")]
    return Cluster(rights, accounts, pods, frozenset(privileged))


def reached(world: Cluster, who: str) -> set[str]:
    subject = parse_subject(who)
    return {str(state) for state in world.paths(State("subject", subject.name, subject)) if state.kind in TARGETS}


ROOT = may("sa:ops/root", "*", "*", group="*")


@pytest.mark.parametrize(
    ("grants", "targets"),
    [
        ([may("ann", "list", "secrets")], {"all Secrets"}),
        ([may("ann", "get", "secrets", namespace="shop")], {"Secrets of namespace shop"}),
        ([may("ann", "get", "secrets", names="one")], set()),
        ([may("ann", "get", "pods")], set()),
        ([may("ann", "*", "*", group="*")], {"cluster-admin", "all Secrets", "root on a node", "past the guard rails"}),
        (
            [may("ann", "*", "*", group="*", namespace="shop")],
            {"Secrets of namespace shop", "past the guard rails of namespace shop", "root on a node"},
        ),
        ([may("ann", "get", "secrets", namespace="shop", names="one two")], {"Secret shop/one", "Secret shop/two"}),
        (
            [may("ann", "escalate", "roles", group=RBAC), may("ann", "patch", "roles", group=RBAC)],
            {"all Secrets"},
        ),
        (
            [
                may("ann", "bind", "clusterroles", group=RBAC, namespace="shop", names="view admin"),
                may("ann", "create", "rolebindings", group=RBAC, namespace="shop"),
            ],
            {"Secrets of namespace shop"},
        ),
        (
            [
                may("ann", "bind", "clusterroles", group=RBAC, names="view"),
                may("ann", "create", "rolebindings clusterrolebindings", group=RBAC),
            ],
            set(),
        ),
        ([may("ann", "create", "validatingwebhookconfigurations", group=ADMISSION)], {"all Secrets"}),
        ([may("ann", "delete", "validatingadmissionpolicies", group=ADMISSION)], {"past the guard rails"}),
        ([may("ann", "delete", "mutatingwebhookconfigurations", group=ADMISSION)], {"past the guard rails"}),
        ([may("ann", "create", "mutatingadmissionpolicies", group=ADMISSION)], set()),
        (
            [may("ann", "create", "mutatingadmissionpolicies mutatingadmissionpolicybindings", group=ADMISSION)],
            {"cluster-admin"},
        ),
        (
            [
                may("ann", "approve", "exemptions", group=GUARD, namespace="shop"),
                may("ann", "patch", "exemptions/status", group=GUARD, namespace="shop"),
            ],
            {"past the guard rails of namespace shop"},
        ),
        ([may("ann", "patch", "namespaces", names="shop")], {"past the guard rails of namespace shop"}),
        (
            [may("ann", "patch", "namespaces"), may("ann", "patch", "deployments", group="apps")],
            {"past the guard rails", "root on a node", "all Secrets"},
        ),
        ([may("ann", "create", "nodes/proxy", names="n1")], {"root on node n1"}),
        ([may("ann", "escalate", "clusterroles", group=RBAC)], set()),
        (
            [may("ann", "escalate", "clusterroles", group=RBAC), may("ann", "patch", "clusterroles", group=RBAC)],
            {"cluster-admin"},
        ),
        (
            [may("ann", "bind", "clusterroles", group=RBAC), may("ann", "create", "clusterrolebindings", group=RBAC)],
            {"cluster-admin"},
        ),
        ([may("ann", "create", "mutatingwebhookconfigurations", group=ADMISSION)], {"cluster-admin"}),
        (
            [
                may("ann", "approve", "signers", group=CERTIFICATES, names="kubernetes.io/kube-apiserver-client"),
                may("ann", "update", "certificatesigningrequests/approval", group=CERTIFICATES),
                may("ann", "create", "certificatesigningrequests", group=CERTIFICATES),
            ],
            {"cluster-admin"},
        ),
        ([may("ann", "impersonate", "groups")], set()),
        ([may("ann", "impersonate", "users groups")], {"cluster-admin"}),
        ([may("ann", "impersonate", "groups", names="ops")], set()),
        ([may("ann", "create", "nodes/proxy")], {"root on a node"}),
        ([may("ann", "create", "persistentvolumes")], {"root on a node"}),
        ([may("group:system:authenticated", "list", "secrets")], {"all Secrets"}),
    ],
)
def test_what_rights_lead_to(grants: list[Grant], targets: set[str]) -> None:
    assert reached(cluster(*grants), "ann") == targets


@pytest.mark.parametrize(
    "grant",
    [
        may("ann", "create", "deployments", group="apps", namespace="ops"),
        may("ann", "create", "pods", namespace="ops"),
        may("ann", "create", "serviceaccounts/token", namespace="ops"),
        may("ann", "create", "serviceaccounts/token", namespace="ops", names="root"),
        may("ann", "impersonate", "serviceaccounts"),
        may("ann", "create", "pods/exec", namespace="ops"),
        may("ann", "create", "pods/exec", namespace="ops", names="tool"),
        may("ann", "patch", "pods/ephemeralcontainers", namespace="ops"),
        may("ann", "patch", "pods", namespace="ops"),
        may("ann", "patch", "cronjobs", group="batch", namespace="ops"),
    ],
    ids=lambda grant: grant.role,
)
def test_ways_to_become_an_account_that_may_do_everything(grant: Grant) -> None:
    pods = (PodFacts("ops", "tool", "root"),)
    assert "cluster-admin" in reached(cluster(grant, ROOT, pods=pods), "ann")
    elsewhere = grant._replace(namespace="shop") if grant.namespace else may("ann", "get", "pods")
    assert "cluster-admin" not in reached(cluster(elsewhere, ROOT, pods=pods), "ann")


def test_a_chain_is_told_step_by_step() -> None:
    world = cluster(may("ann", "create", "pods/exec", namespace="ops"), ROOT, pods=(PodFacts("ops", "tool", "root"),))
    ann = State("subject", "ann", Subject("User", "ann"))
    assert path_lines({str(ann): shortest(world, ann, ["cluster-admin"])}) == [
        "User ann -> cluster-admin",
        "  1. User ann may run commands in Pod ops/tool   (by RoleBinding ops/b to ClusterRole pods/exec)",
        "  2. Pod ops/tool holds the token of ServiceAccount ops/root   (by its volume)",
        "  3. ServiceAccount ops/root may do everything: cluster-admin   (by ClusterRoleBinding * to ClusterRole *)",
    ]


def test_from_a_pod_that_is_broken_into() -> None:
    held = PodFacts("shop", "front", "app", "n1", mounts_token=False, owns_node=True)
    beside = PodFacts("ops", "tool", "root", "n1")
    far = PodFacts("ops", "far", "root", "n2")
    start = State("pod", "shop/front")
    assert State("cluster-admin") in cluster(ROOT, pods=(held, beside)).paths(start)
    assert State("cluster-admin") not in cluster(ROOT, pods=(held, far)).paths(start)
    assert State("cluster-admin") not in cluster(ROOT, pods=(held._replace(owns_node=False), beside)).paths(start)


def test_privileged_pods_need_a_namespace_that_lets_them() -> None:
    grant = may("ann", "create", "pods", namespace="shop")
    assert "root on a node" not in reached(cluster(grant), "ann")
    assert "root on a node" in reached(cluster(grant, privileged=("shop",)), "ann")


def test_a_node_reaches_what_its_pods_have() -> None:
    pods = (
        PodFacts("ops", "tool", "root", "n1", mounts_token=False, secrets=("key",)),
        PodFacts("shop", "a", "app", "n2"),
    )
    world = cluster(ROOT, pods=pods)
    world.nodes = ["n1", "n2"]
    assert reached(world, "system:node:n1") == {"cluster-admin", "all Secrets", "Secret ops/key"} | {
        "root on a node",
        "root on node n1",
        "root on node n2",
        "past the guard rails",
    }
    assert reached(world, "system:node:n2") == set()
    world = cluster(may("ann", "create", "nodes/proxy", names="n1"), ROOT, pods=pods)
    assert "cluster-admin" in reached(world, "ann")


def test_who_approves_the_certificates_of_nodes_becomes_any() -> None:
    grants = [
        may("ann", "approve", "signers", group=CERTIFICATES, names="kubernetes.io/kube-apiserver-client-kubelet"),
        may("ann", "patch", "certificatesigningrequests/approval", group=CERTIFICATES),
        may("ann", "create", "certificatesigningrequests", group=CERTIFICATES),
    ]
    world = cluster(*grants, pods=(PodFacts("ops", "tool", "root", "n1", secrets=("key",)),))
    world.nodes = ["n1"]
    assert reached(world, "ann") == {"Secret ops/key"}


def test_accounts_that_become_one_another_are_no_trouble() -> None:
    a = may("sa:shop/app", "impersonate", "serviceaccounts")
    b = may("sa:ops/root", "impersonate", "serviceaccounts")
    assert reached(cluster(a, b), "sa:shop/app") == set()
    assert str(account("shop", "app")) == "ServiceAccount shop/app"


@pytest.mark.parametrize(
    ("spec", "mounted", "owns"),
    [
        ({}, True, False),
        ({"automountServiceAccountToken": False}, False, False),
        ({"hostPID": True}, True, True),
        ({"imagePullSecrets": [{"name": "pull"}]}, True, False),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, True, True),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, True, True),
    ],
)
def test_what_matters_of_a_pod(spec: Obj, mounted: bool, owns: bool) -> None:
    facts = pod_facts({"metadata": {"namespace": "shop", "name": "a"}, "spec": spec}, True)
    assert (facts.mounts_token, facts.owns_node, facts.account) == (mounted, owns, "default")
