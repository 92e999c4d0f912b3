"""Exported policies: they compile upstream, cost little, give the verdict of `pilothouse check`, and are bound once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_cases import CASES, _objects

from pilothouse.guard.door.settings import AUDIT, ENFORCE, MODE, MODES, SEVERITIES, SEVERITY, WARN
from pilothouse.guard.export.actions import Case, Defaults, cases, refuses, warns
from pilothouse.guard.export.export import Choices, Export, export
from pilothouse.guard.export.text import files, stream
from pilothouse.guard.finding import Item, Severity
from pilothouse.guard.judge import Options, judge
from pilothouse.guard.shipped import all_checks, other_checks, shipped_policies, shipped_trees
from pilothouse.kinds.catalogue import by_resource
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.selectors import from_label_selector
from pilothouse.policy.admission.judge import CompiledPolicy, Result
from pilothouse.policy.admission.typecheck import warnings
from pilothouse.policy.admission.variables import Inputs
from pilothouse.policy.cel.library.authorizer import Question
from pilothouse.policy.match import Subject, matches

GOLDEN = Path(__file__).parents[3] / "golden" / "guard"
PARAMS = {
    "image-registry-not-allowed": {"metadata": {"name": "image-registry-not-allowed"}, "data": {"registries": "a,b"}},
    "required-labels": {"metadata": {"name": "required-labels", "namespace": "rules"}, "data": {"labels": "team"}},
}
OF_1_30 = frozenset(
    " ".join(
        (
            "all exists exists_one filter map has size contains startsWith endsWith matches find findAll join",
            "split lowerAscii upperAscii replace substring indexOf lastIndexOf charAt trim format int uint double",
            "string bool bytes dyn type duration timestamp isSorted sum min max orValue or hasValue value",
            "optional of ofNonZeroValue none optMap optFlatMap quantity isQuantity sign asInteger isGreaterThan",
            "isLessThan compareTo url isURL ip isIP cidr isCIDR",
        )
    ).split()
)
"""Source: Kubernetes 1.30, "Common Expression Language in Kubernetes", and the libraries it names."""


def everything(**choices: Any) -> Export:
    return export(shipped_trees(), other_checks(), Choices(Defaults(excluded=(), **choices), PARAMS))


def policies() -> dict[str, Obj]:
    return {
        entry.check.id: next(tree for tree in entry.objects if tree["kind"] == "ValidatingAdmissionPolicy")
        for entry in everything().exported
    }


POLICIES = policies()


@pytest.fixture(scope="module")
def compiled() -> dict[str, CompiledPolicy]:
    return {name: CompiledPolicy(tree) for name, tree in POLICIES.items()}


def texts(tree: Obj) -> list[str]:
    spec = tree["spec"]
    found = [entry["expression"] for name in ("matchConditions", "variables") for entry in spec.get(name) or ()]
    found += [entry[name] for entry in spec["validations"] for name in entry if name.lower().endswith("expression")]
    return found + [entry["valueExpression"] for entry in spec["auditAnnotations"]]


def test_everything_compiles_where_only_what_upstream_has_is_declared(compiled: Mapping[str, CompiledPolicy]) -> None:
    assert {name: policy.problems for name, policy in compiled.items() if policy.problems} == {}
    assert len(compiled) == len(shipped_policies())


def test_functions_are_those_of_kubernetes_1_30_and_lengths_within_its_bounds() -> None:
    for tree in POLICIES.values():
        for text in texts(tree):
            bare = re.sub(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", "''", text)
            assert set(re.findall(r"(\w+)\s*\(", bare)) - {"in"} <= OF_1_30, text
            assert len(text.encode()) <= 5 * 1024
        assert len(tree["spec"]["auditAnnotations"]) <= 20
        assert len(tree["spec"]["matchConditions"]) <= 64
        assert all("\n" not in rule["message"] for rule in tree["spec"]["validations"])


def verdict(policy: CompiledPolicy, tree: Obj, old: Obj | None = None, params: Obj | None = None) -> Result | None:
    def decide(question: Question) -> Any:
        raise AssertionError(f"no check asks the authoriser: {question}")

    return policy.judge(Inputs(tree, old, {"operation": "UPDATE" if old else "CREATE"}, None, params), decide, 30.0)


def one_object_cases() -> list[tuple[str, Obj, Obj | None]]:
    found = []
    for name, case in CASES.items():
        if name in POLICIES:
            data = case.get("params")
            for thing in (*case["alert"], *case["quiet"]):
                if len(trees := _objects(thing)) == 1:
                    found.append((name, trees[0], {"data": data} if data else None))
    return found


def test_the_verdict_is_that_of_the_file_within_upstreams_limits_of_cost(
    compiled: Mapping[str, CompiledPolicy],
) -> None:
    broken = 0
    for name, tree, params in one_object_cases():
        given = {f"{name}.pilothouse.io": params} if params else {}
        found = {finding.check.id for finding in judge([Item(tree)], Options(params=given)).findings}
        meant = matches(POLICIES[name]["spec"]["matchConstraints"], Subject(tree))
        result = verdict(compiled[name], tree, params=params) if meant else None
        assert not result or not any(entry.error for entry in result.broken), (name, result)
        assert bool(result and result.broken) == (name in found), (name, tree)
        broken += bool(result and result.broken)
    assert broken >= len(POLICIES)


def large_pod(containers: int) -> Obj:
    made = [
        {
            "name": f"container-{number}",
            "image": f"registry.example/team/image-{number}:1",
            "args": ["--flag"] * 10,
            "env": [{"name": f"NAME_{index}", "value": "x" * 64} for index in range(20)],
            "ports": [{"name": f"p{index}", "containerPort": 8000 + index} for index in range(5)],
            "volumeMounts": [{"name": f"v{index}", "mountPath": f"/v/{index}"} for index in range(10)],
            "securityContext": {"privileged": True, "capabilities": {"add": ["SYS_ADMIN", "NET_RAW"]}},
        }
        for number in range(containers)
    ]
    volumes = [{"name": f"v{index}", "hostPath": {"path": f"/data/{index}"}} for index in range(10)]
    spec = {"containers": made, "initContainers": made[:10], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "large"}, "spec": spec}


def test_a_pod_of_fifty_containers_stays_within_upstreams_limits_of_cost(
    compiled: Mapping[str, CompiledPolicy],
) -> None:
    tree, changed = large_pod(50), large_pod(51)
    for name, policy in compiled.items():
        if matches(POLICIES[name]["spec"]["matchConstraints"], Subject(tree)):
            for old in (None, changed):
                result = verdict(policy, tree, old, {"data": {"registries": "a", "labels": "team"}})
                assert result or old, name
                assert not result or not any(entry.error for entry in result.broken), (name, result)


def test_a_write_that_changes_nothing_that_is_judged_is_not_judged(compiled: Mapping[str, CompiledPolicy]) -> None:
    for name, tree, params in one_object_cases():
        if not matches(POLICIES[name]["spec"]["matchConstraints"], Subject(tree)):
            continue
        touched = {**tree, "metadata": {**tree["metadata"], "finalizers": ["a/b"]}, "status": {"phase": "Failed"}}
        assert verdict(compiled[name], touched, tree, params) is None, name


def test_a_controller_scales_what_was_there_before() -> None:
    old = _objects({"container": {"securityContext": {"privileged": True}}})[0] | {"kind": "ReplicaSet"}
    scaled = {**old, "spec": {**old["spec"], "replicas": 5}}
    worse = {**old, "spec": {**old["spec"], "template": {"spec": {"containers": [], "hostPID": True}}}}

    assert verdict(CompiledPolicy(POLICIES["container-privileged"]), scaled, old) is None
    result = verdict(CompiledPolicy(POLICIES["pod-host-pid"]), worse, old)
    assert result is not None
    assert len(result.broken) == 1


def selected(found: list[Case], labels: Mapping[str, str]) -> list[Case]:
    return [case for case in found if from_label_selector({"matchExpressions": [*case.expressions]}).matches(labels)]


@given(
    severity=st.sampled_from(Severity),
    least=st.sampled_from(Severity),
    warned=st.sampled_from(Severity),
    mode=st.sampled_from(MODES),
    labels=st.fixed_dictionaries(
        {"kubernetes.io/metadata.name": st.sampled_from(["shop", "kube-system"])},
        optional={
            MODE: st.sampled_from([*MODES, "nonsense"]),
            SEVERITY: st.sampled_from([*SEVERITIES, "nonsense"]),
        },
    ),
)
def test_one_binding_means_a_namespace_and_does_what_the_door_would(
    severity: Severity, least: Severity, warned: Severity, mode: str, labels: dict[str, str]
) -> None:
    found = selected(cases(severity, Defaults(mode, least, warned, ["kube-system"])), labels)
    if labels["kubernetes.io/metadata.name"] == "kube-system":
        assert found == []
        return
    chosen = labels[MODE] if labels.get(MODE) in MODES else mode
    from_ = Severity.parse(labels[SEVERITY]) if labels.get(SEVERITY) in SEVERITIES else least
    refused = chosen == ENFORCE and severity >= from_
    wanted = refuses() if refused else ("Audit",) if chosen == AUDIT else warns(severity, warned)
    assert [case.actions for case in found] == [wanted]


def test_what_is_in_no_namespace_is_never_refused() -> None:
    for mode, told in ((ENFORCE, "Warn"), (WARN, "Warn"), (AUDIT, "Audit")):
        for entry in everything(mode=mode, severity=Severity.LOW, warned=Severity.LOW).exported:
            for tree in entry.objects:
                if tree["kind"].endswith("Binding") and tree["metadata"]["name"].startswith(
                    f"{entry.check.id}-cluster"
                ):
                    assert "Deny" not in tree["spec"]["validationActions"]
                    assert told in tree["spec"]["validationActions"]


def test_a_selector_of_namespaces_is_kept_to_what_is_in_one() -> None:
    found = {tree["metadata"]["name"]: tree for e in everything().exported for tree in e.objects}
    (rule,) = found["role-escalate-deny.pilothouse.io"]["spec"]["matchResources"]["resourceRules"]
    assert rule["scope"] == "Namespaced"
    (rule,) = found["role-escalate-cluster.pilothouse.io"]["spec"]["matchResources"]["resourceRules"]
    assert rule["scope"] == "Cluster"
    assert "resourceRules" not in found["container-privileged-deny.pilothouse.io"]["spec"]["matchResources"]


def test_what_is_not_exported_is_listed() -> None:
    made = export(shipped_trees(), other_checks(), Choices())
    reasons = {entry.check_id: entry.reason for entry in made.left_out}
    every = {entry.check.id for entry in made.exported} | reasons.keys()

    assert every == {check.id for check in all_checks()}
    assert reasons["service-selects-nothing"] == "looks at more than the object that is written"
    assert reasons["required-labels"] == "needs parameters: --params FILE with a ConfigMap named required-labels"
    assert reasons["system-namespace-used"] == "is about namespaces that are excluded"


def test_the_text_is_the_objects() -> None:
    choices = Choices(Defaults(mode=WARN), PARAMS)
    made = export(shipped_trees(), other_checks(), choices)
    written = [tree for text in files(made, choices).values() for tree in yaml.load_all(text, Loader=yaml.CSafeLoader)]

    assert written == [tree for entry in made.exported for tree in entry.objects]
    names = [
        (tree["kind"], tree["metadata"]["name"])
        for tree in yaml.load_all(stream(made, choices), Loader=yaml.CSafeLoader)
    ]
    assert len(names) == len(set(names)) == len({(t["kind"], t["metadata"]["name"]) for t in written})


@pytest.mark.parametrize("name", ["image-registry-not-allowed", "role-escalate"])
def test_golden(name: str) -> None:
    choices = Choices(params=PARAMS)
    text = files(export(shipped_trees(), other_checks(), choices), choices)[f"{name}.yaml"]
    assert text == (GOLDEN / f"export-{name}.yaml").read_text()


OF_SEVERAL_SHAPES = {
    "default-namespace-used",  # metadata.namespace: there, but not in the schema that upstream checks by
    "system-namespace-used",
    "pod-volume-type",  # goes through the keys of a volume
    "pod-apparmor-annotation",  # where each kind has its pod's metadata
    "workload-not-spread",  # replicas, which a Pod has not
}


def test_fields_are_those_of_the_published_schemas() -> None:
    told = {name for name, tree in POLICIES.items() if warnings(_of_one_kind(tree), _find)}
    assert told == OF_SEVERAL_SHAPES


def _find(group: str, version: str, plural: str) -> Resource | None:
    kind = by_resource(group, version, plural)
    return None if kind is None else kind.resource


def _of_one_kind(policy: Obj) -> Obj:
    """The policy for the versions there are; what is about every kind that runs pods, for pods alone."""
    spec = {**policy["spec"], "matchConditions": policy["spec"]["matchConditions"][:-1]}
    rules = [{**rule, "apiVersions": ["v1", "v2"]} for rule in spec["matchConstraints"]["resourceRules"]]
    if any(entry["name"] == "pod" for entry in spec.get("variables") or ()):
        rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]
        spec["variables"] = [
            {**entry, "expression": "object.spec"} if entry["name"] == "pod" else entry for entry in spec["variables"]
        ]
    return {"spec": {**spec, "matchConstraints": {"resourceRules": rules}}}
