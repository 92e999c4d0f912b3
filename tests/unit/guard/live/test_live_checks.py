"""Live checks: after any sequence of changes they say what a full evaluation says."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.guard.cross import CROSS_CHECKS
from pilothouse.guard.finding import Item, ref_of
from pilothouse.guard.findings.model import Basis, Report
from pilothouse.guard.judge import judge
from pilothouse.guard.live import checks
from pilothouse.guard.live.checks import OWNERLESS, UNCHECKED, LiveChecks
from pilothouse.guard.live.dependencies import CHECKS, READS
from pilothouse.guard.live.documents import trim
from pilothouse.guard.live.kinds import checked_kinds
from pilothouse.guard.live.world import World
from pilothouse.guard.snapshot import CrossCheck, Hit, Snapshot
from pilothouse.machinery.objects import Obj

SPACES = ("a", "b")
NAMES = ("x", "y")
RBAC = "rbac.authorization.k8s.io"
LABELS = st.sampled_from([{}, {"app": "x"}, {"app": "y", "tier": "web"}])
ACCOUNTS = st.sampled_from(["", "x", "y"])
NAME, SPACE = st.sampled_from(NAMES), st.sampled_from(SPACES)
GRANTS = st.sampled_from(["get secrets", "create pods/exec", "* *", "list pods"])
TEAM, X, Y = ({"matchLabels": {key: value}} for key, value in (("team", "t"), ("app", "x"), ("app", "y")))
PEERS = st.sampled_from([{"podSelector": X}, {"namespaceSelector": TEAM, "podSelector": Y}])


def meta(kind: str, name: str, namespace: str, **more: object) -> Obj:
    versions = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "CronJob": "batch/v1"}
    versions |= {"NetworkPolicy": "networking.k8s.io/v1", "Ingress": "networking.k8s.io/v1"}
    versions |= {"PodDisruptionBudget": "policy/v1", "HorizontalPodAutoscaler": "autoscaling/v2"}
    versions |= dict.fromkeys(("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"), RBAC + "/v1")
    metadata: Obj = {"name": name, **({"namespace": namespace} if namespace else {}), **more}
    return {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": metadata}


def template(draw: st.DrawFn) -> Obj:
    container: Obj = {"name": "c", "image": draw(st.sampled_from(["app", "app:1"])), "ports": [{"containerPort": 80}]}
    if draw(st.booleans()):
        container["env"] = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k"}}}]
    if draw(st.booleans()):
        container["securityContext"] = {"privileged": True}
    spec: Obj = {"containers": [container]}
    if account := draw(ACCOUNTS):
        spec["serviceAccountName"] = account
    return {"metadata": {"labels": draw(LABELS)}, "spec": spec}


def rules(draw: st.DrawFn) -> list[Obj]:
    verb, what = draw(GRANTS).split()
    return [{"apiGroups": ["*"], "resources": [what], "verbs": [verb]}]


@st.composite
def objects(draw: st.DrawFn, kinds: tuple[str, ...]) -> Obj:
    """One object of few names, so that objects meet."""
    kind = draw(st.sampled_from(kinds))
    clustered = kind in ("Namespace", "ClusterRole", "ClusterRoleBinding")
    space = "" if clustered else draw(st.sampled_from(SPACES))
    tree = meta(kind, draw(st.sampled_from(SPACES if kind == "Namespace" else NAMES)), space)
    tree.update(CONTENT.get(kind, lambda draw: {})(draw))
    if draw(st.booleans()):
        tree["metadata"]["labels"] = {"team": "t"}
    return tree


def workload(draw: st.DrawFn) -> Obj:
    return {"spec": {"replicas": draw(st.integers(1, 3)), "selector": {"matchLabels": {}}, "template": template(draw)}}


def stateful(draw: st.DrawFn) -> Obj:
    return {"spec": {**workload(draw)["spec"], "serviceName": draw(st.sampled_from(NAMES))}}


def service(draw: st.DrawFn) -> Obj:
    spec: Obj = {"selector": draw(LABELS), "ports": [{"port": 80, "targetPort": draw(st.sampled_from([80, 81]))}]}
    return {"spec": spec | draw(st.sampled_from([{}, {"clusterIP": "None"}]))}


def policy(draw: st.DrawFn) -> Obj:
    spec: Obj = {"podSelector": {"matchLabels": draw(LABELS)}, "policyTypes": ["Ingress"]}
    return {"spec": spec | draw(st.sampled_from([{}, {"ingress": [{"from": [draw(PEERS)]}]}]))}


def binding(draw: st.DrawFn) -> Obj:
    ref = {"apiGroup": RBAC, "kind": draw(st.sampled_from(["Role", "ClusterRole"])), "name": draw(NAME)}
    return {"roleRef": ref, "subjects": [{"kind": "ServiceAccount", "name": draw(NAME), "namespace": draw(SPACE)}]}


def budget(draw: st.DrawFn) -> Obj:
    return {"spec": {"selector": {"matchLabels": draw(LABELS)}, "minAvailable": draw(st.integers(1, 2))}}


def autoscaler(draw: st.DrawFn) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": draw(NAME)}
    return {"spec": {"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": target}}


def ingress(draw: st.DrawFn) -> Obj:
    backend = {"service": {"name": draw(NAME), "port": {"number": draw(st.sampled_from([80, 90]))}}}
    return {"spec": {"defaultBackend": backend}}


def cluster_binding(draw: st.DrawFn) -> Obj:
    found = binding(draw)
    return {**found, "roleRef": {**found["roleRef"], "kind": "ClusterRole"}}


CONTENT = {
    "Pod": lambda draw: {"spec": template(draw)["spec"]},
    "Deployment": workload,
    "StatefulSet": stateful,
    "Service": service,
    "NetworkPolicy": policy,
    "ServiceAccount": lambda draw: draw(st.sampled_from([{}, {"automountServiceAccountToken": False}])),
    "ConfigMap": lambda draw: {"data": {draw(st.sampled_from("kl")): "v"}},
    "LimitRange": lambda draw: {"spec": {"limits": [{"type": "Container", "default": {"memory": "1Gi", "cpu": "1"}}]}},
    "ResourceQuota": lambda draw: {"spec": {"hard": {"pods": "1"}}},
    "Role": lambda draw: {"rules": rules(draw)},
    "ClusterRole": lambda draw: {"rules": rules(draw)},
    "RoleBinding": binding,
    "ClusterRoleBinding": cluster_binding,
    "PodDisruptionBudget": budget,
    "HorizontalPodAutoscaler": autoscaler,
    "Ingress": ingress,
}
MAKERS = tuple(sorted((*CONTENT, "Namespace")))


class Cluster:
    """Objects, the live checks over them, and what these last reported."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.checks = LiveChecks(World(), lambda ref: "")
        self.said: dict[str, Report] = {}

    def put(self, tree: Obj) -> None:
        place = tree["kind"], tree["metadata"].get("namespace", ""), tree["metadata"]["name"]
        self.objects[place] = tree
        self.checks.put(orjson.dumps(trim(copy.deepcopy(tree))))

    def remove(self, number: int) -> None:
        if self.objects:
            place = list(self.objects)[number % len(self.objects)]
            del self.objects[place]
            self.checks.remove(place)

    def settle(self) -> int:
        steps = 0
        while len(self.checks):
            report = self.checks.step()
            self.said[report.subject] = report
            steps += 1
        return steps

    def live(self) -> set[tuple[str, ...]]:
        found = (entry.finding for report in self.said.values() for entry in report.found)
        return {
            (f.check.id, *f.ref, f.container, f.field, f.message)
            for f in found
            if f.check not in (OWNERLESS, UNCHECKED)
        }

    def full(self) -> set[tuple[str, ...]]:
        found = judge([Item(tree) for tree in self.objects.values()]).findings
        return {(f.check.id, *f.ref, f.container, f.field, f.message) for f in found}


TOPICS = (
    ("Deployment", "Service", "StatefulSet", "Ingress", "Pod"),
    ("Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler", "StatefulSet"),
    ("Deployment", "NetworkPolicy", "Namespace"),
    ("Deployment", "ConfigMap", "LimitRange", "ResourceQuota", "Namespace", "ServiceAccount"),
    ("Deployment", "ServiceAccount", "RoleBinding", "ClusterRoleBinding"),
    ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Deployment", "ServiceAccount"),
    MAKERS,
)
"""Kinds that have to do with each other."""


@pytest.mark.parametrize("kinds", TOPICS, ids=lambda kinds: kinds[1])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_after_any_changes_the_findings_are_those_of_a_full_evaluation(data: st.DataObject, kinds: tuple[str]) -> None:
    cluster = Cluster()
    steps = data.draw(st.lists(st.one_of(objects(kinds), objects(kinds), st.integers(0, 50)), min_size=4, max_size=24))
    for step in steps:
        if isinstance(step, int):
            cluster.remove(step)
        else:
            cluster.put(step)
        cluster.settle()
        assert cluster.live() == cluster.full()
    assert {subject for subject, report in cluster.said.items() if report.found} <= cluster.checks.subjects()


def test_every_check_across_objects_says_what_it_reads() -> None:
    assert READS.keys() == {check.check.id for check in CROSS_CHECKS}


def deployment(name: str, namespace: str, image: str = "app:1") -> Obj:
    spec: Obj = {"containers": [{"name": "c", "image": image}]}
    pods: Obj = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {**meta("Deployment", name, namespace), "spec": {"replicas": 1, "selector": {}, "template": pods}}


def test_a_change_judges_its_own_namespace_alone() -> None:
    cluster = Cluster()
    for space in "abcdef":
        cluster.put(meta("Namespace", space, ""))
        cluster.put(deployment("x", space))
    cluster.settle()
    cluster.put(deployment("x", "a", "app:2"))
    about = list(cluster.checks._marked)
    assert {place if isinstance(place, str) else place[1] for _, place in about} == {"a"}
    assert len(about) < len(CROSS_CHECKS)


def test_what_says_the_same_is_not_judged_again() -> None:
    cluster = Cluster()
    cluster.put(deployment("x", "a"))
    cluster.settle()
    changed = deployment("x", "a")
    changed["status"] = {"readyReplicas": 1}
    changed["metadata"] |= {"resourceVersion": "7", "generation": 3, "managedFields": [{"manager": "kubectl"}]}
    cluster.put(changed)
    assert cluster.settle() == 0


def test_a_new_process_judges_only_objects_that_are_others() -> None:
    cluster = Cluster()
    cluster.put(deployment("x", "a"))
    cluster.put(deployment("y", "a"))
    cluster.settle()
    bases: dict[str, Basis] = {subject: report.basis for subject, report in cluster.said.items()}
    cluster.put(deployment("y", "a", "app:2"))
    cluster.settle()
    list(cluster.checks.mark_all(bases.get))
    assert [place for check, place in cluster.checks._marked if not check] == [("Deployment", "a", "y")]


def test_secrets_are_kept_without_their_values() -> None:
    tree = meta("Secret", "x", "a", annotations={"kubectl.kubernetes.io/last-applied-configuration": "password"})
    kept = trim({**tree, "data": {"password": "aGFyYm91cg=="}, "stringData": {"other": "harbour"}})
    assert kept["data"] == {"password": ""}
    assert b"arbour" not in orjson.dumps(kept)
    assert b"aGFy" not in orjson.dumps(kept)


def test_the_kinds_that_are_followed() -> None:
    kinds = {resource.kind for resource in checked_kinds()}
    assert {"Deployment", "Pod", "Secret", "Namespace", "NetworkPolicy", "RoleBinding", "CronJob"} <= kinds
    assert not {"Event", "Lease", "EndpointSlice", "Finding", "Node"} & kinds


def ownerless(cluster: Cluster) -> Iterable[str]:
    return [e.evidence["workloads"] for r in cluster.said.values() for e in r.found if e.finding.check is OWNERLESS]


def test_workloads_that_nobody_owns_are_a_finding_of_their_namespace() -> None:
    cluster = Cluster()
    for name in "abcdefg":
        cluster.put(deployment(name, "shop"))
    cluster.put(deployment("dns", "kube-system"))
    cluster.settle()
    assert ownerless(cluster) == ["Deployment/a, Deployment/b, Deployment/c, Deployment/d, Deployment/e and 2 more"]


@pytest.mark.parametrize("name", ["Deployment", "Pod"])
def test_refs_are_those_of_the_objects(name: str) -> None:
    cluster = Cluster()
    tree = deployment("x", "a") if name == "Deployment" else {**meta("Pod", "x", "a"), "spec": {"containers": []}}
    cluster.put(tree)
    cluster.settle()
    assert ref_of(tree) in {entry.finding.ref for report in cluster.said.values() for entry in report.found}


def test_a_pod_of_another_namespace_mends_a_policy() -> None:
    cluster = Cluster()
    peer = {"namespaceSelector": TEAM, "podSelector": Y}
    cluster.put(meta("Namespace", "b", "", labels={"team": "t"}))
    cluster.put({**meta("NetworkPolicy", "x", "a"), "spec": {"podSelector": {}, "ingress": [{"from": [peer]}]}})
    cluster.settle()
    assert "network-policy-peer-selects-nothing" in {check for check, *_ in cluster.live()}
    cluster.put(deployment("y", "b"))
    cluster.settle()
    assert "network-policy-peer-selects-nothing" not in {check for check, *_ in cluster.live()}


def unchecked(cluster: Cluster) -> list[str]:
    found = (entry.finding for report in cluster.said.values() for entry in report.found)
    return [finding.message for finding in found if finding.check is UNCHECKED]


def test_what_cannot_be_checked_is_a_finding_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(snapshot: Snapshot) -> Iterator[Hit]:
        raise TypeError("a list was expected")

    known = dict(CHECKS)
    known["service-selects-nothing"] = CrossCheck(known["service-selects-nothing"].check, fails)
    monkeypatch.setattr(checks, "CHECKS", known)
    cluster = Cluster()
    service = {**meta("Service", "x", "a"), "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}
    cluster.put(service)
    cluster.put(deployment("y", "a"))
    cluster.settle()
    assert any("service-selects-nothing: an object has another shape" in said for said in unchecked(cluster))
    assert "pod-ingress-not-isolated" in {check for check, *_ in cluster.live()}


def test_an_object_that_does_not_fit_its_schema_is_said_to_be_unchecked() -> None:
    cluster = Cluster()
    cluster.put({**meta("Deployment", "x", "a"), "spec": {"template": {"spec": {"containers": "none"}}}})
    cluster.settle()
    assert any("does not fit its schema" in said for said in unchecked(cluster))
