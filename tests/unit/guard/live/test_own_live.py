"""Users' own checks on what runs: whatever changed in which order, what was reported is what a full look finds."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.guard.findings.model import Report
from pilothouse.guard.live.own import OwnLive, Pending
from pilothouse.guard.live.world import World
from pilothouse.machinery.objects import Obj

SPACES = ("a", "b")
KIND, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
EXPRESSIONS = {
    "plain": "object.spec.replicas < 3",
    "namespace": "namespaceObject.metadata.labels.tier != 'gold'",
    "params": "object.spec.replicas <= int(params.data.most)",
    "error": "object.spec.nowhere == 1",
}


def policy(name: str, expression: str) -> Obj:
    texts = {"id": name, "title": "t", "severity": "low", "category": "hygiene", "why": "w", "remedy": "r"}
    spec: Obj = {
        "matchConstraints": {"resourceRules": [RULE]},
        "validations": [{"expression": EXPRESSIONS[expression]}],
    }
    if expression == "params":
        spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    annotations = {f"pilothouse.io/{key}": text for key, text in texts.items()}
    meta = {"name": name, "annotations": annotations}
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": KIND, "metadata": meta, "spec": spec}


def binding(name: str, reference: Obj, tier: str) -> Obj:
    spec: Obj = {"policyName": name, "validationActions": ["Audit"], "paramRef": reference}
    if tier:
        spec["matchResources"] = {"namespaceSelector": {"matchLabels": {"tier": tier}}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": BINDING,
        "metadata": {"name": name},
        "spec": spec,
    }


def placed(kind: str, api_version: str, space: str, name: str, **fields: Any) -> Obj:
    metadata: Obj = {"name": name, **({"namespace": space} if space else {})}
    labels = fields.pop("labels", None)
    return {"apiVersion": api_version, "kind": kind, "metadata": {**metadata, "labels": labels or {}}, **fields}


names = st.sampled_from(["one", "two"])
spaces = st.sampled_from(SPACES)
references = st.sampled_from([{"name": "limit"}, {"name": "limit", "namespace": "a"}, {"selector": {}}])
policies = st.builds(policy, names, st.sampled_from(sorted(EXPRESSIONS)))
bindings = st.builds(binding, names, references, st.sampled_from(["", "gold"]))
deployments = st.builds(
    lambda space, name, replicas: placed("Deployment", "apps/v1", space, name, spec={"replicas": replicas}),
    spaces,
    names,
    st.integers(0, 4),
)
namespaces = st.builds(
    lambda space, tier: placed("Namespace", "v1", "", space, labels={"tier": tier}),
    spaces,
    st.sampled_from(["gold", "tin"]),
)
limits = st.builds(
    lambda space, most: placed("ConfigMap", "v1", space, "limit", data={"most": most}),
    spaces,
    st.sampled_from(["1", "3", "many"]),
)
objects = st.one_of(policies, bindings, deployments, namespaces, limits)


class Cluster:
    """What is there, what looks at it, and what was reported last of each subject."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.own = OwnLive(self.world)
        self.reported: dict[str, set[tuple[str, str]]] = {}

    def put(self, tree: Obj) -> None:
        if tree["kind"] in (KIND, BINDING):
            self.own.take(tree["kind"], tree["metadata"]["name"], tree)
        else:
            self.own.touch(self.world.put(orjson.dumps(tree))[1].place)

    def remove(self, tree: Obj) -> None:
        if tree["kind"] in (KIND, BINDING):
            self.own.take(tree["kind"], tree["metadata"]["name"], None)
            return
        place = (tree["kind"], tree["metadata"].get("namespace", ""), tree["metadata"]["name"])
        if self.world.remove(place) is not None:
            self.own.touch(place)

    def step(self) -> None:
        found = self.own.next()
        reports = [self.own.judged(found, self.own.judge(found))] if isinstance(found, Pending) else found
        for report in reports:
            self._note(report)

    def _note(self, report: Report) -> None:
        self.reported[report.subject] = {(one.finding.check.id, one.finding.message) for one in report.found}

    def settled(self) -> dict[str, set[tuple[str, str]]]:
        while len(self.own):
            self.step()
        return {subject: found for subject, found in self.reported.items() if found}


@st.composite
def beginnings(draw: st.DrawFn) -> list[Obj]:
    """Two checks in force, and something for them to look at."""
    found = [placed("Namespace", "v1", "", space, labels={"tier": "tin"}) for space in SPACES]
    for name in ("one", "two"):
        found += [policy(name, draw(st.sampled_from(sorted(EXPRESSIONS)))), binding(name, draw(references), "")]
    for space in SPACES:
        found.append(placed("Deployment", "apps/v1", space, "one", spec={"replicas": 3}))
        found.append(placed("ConfigMap", "v1", space, "limit", data={"most": "3"}))
    return found


@settings(max_examples=100, deadline=None)
@given(beginnings(), st.lists(st.tuples(objects, st.integers(0, 4), st.integers(0, 3)), max_size=12))
def test_what_was_reported_is_what_a_full_look_finds(beginning: list[Obj], changes: list[tuple[Obj, int, int]]) -> None:
    cluster = Cluster()
    for tree in beginning:
        cluster.put(tree)
    cluster.settled()
    for tree, kept, steps in changes:
        (cluster.put if kept else cluster.remove)(tree)
        for _ in range(min(steps, len(cluster.own))):
            cluster.step()

    settled = cluster.settled()

    fresh = Cluster(cluster.world)
    for (kind, name), tree in cluster.own._objects.items():
        fresh.own.take(kind, name, tree)
    for place in list(cluster.world.entries):
        fresh.own.touch(place)
    assert settled == fresh.settled()
    assert cluster.own.subjects() == set(settled)


def test_without_own_checks_nothing_is_judged() -> None:
    cluster = Cluster()
    cluster.put(placed("Deployment", "apps/v1", "a", "one", spec={"replicas": 9}))
    cluster.put(policy("one", "plain"))  # without a binding it is not in force

    assert cluster.settled() == {}
    assert len(cluster.own) == 0

    cluster.put(binding("one", {}, ""))
    assert cluster.settled() == {"Deployment/a/one": {("one", "failed expression: object.spec.replicas < 3")}}
