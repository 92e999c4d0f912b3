"""The door says what the desk says, and says it briefly."""

from __future__ import annotations

import copy
import datetime as dt
import re
from typing import Any

import pytest
from test_cases import CASES, _objects

from pilothouse.guard.door.decide import MOST_WARNINGS, Outcome, decide, seen
from pilothouse.guard.door.door import Around, Door
from pilothouse.guard.door.settings import Settings, settings_of
from pilothouse.guard.finding import Check, Finding, Item, Ref, Severity
from pilothouse.guard.judge import judge
from pilothouse.guard.shipped import check_of, shipped_policies
from pilothouse.machinery.objects import Obj

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
REF = Ref("apps/v1", "Deployment", "shop", "web")
AUDIT = {"guard.pilothouse.dev/mode": "audit"}
OF_ONE_OBJECT = {check_of(policy).id for policy in shipped_policies()}


def finding(
    check: str, severity: Severity, standards: str = "", container: str = "c", message: str = "is bad"
) -> Finding:
    return Finding(Check(check, check, severity, "security", "w", "r", standards), REF, message, container, "spec")


def said(
    findings: list[Finding], settings: Settings, before: list[Finding] | None = None, heard: bool = True
) -> Outcome:
    return decide(findings, {seen(entry) for entry in before or ()}, "shop", settings, heard=heard)


def test_every_check_of_one_object_is_compared() -> None:
    with_parameters = {"image-registry-not-allowed", "required-labels"}  # nobody gives them at the door
    assert {param.values[1] for param in _alerting()} == OF_ONE_OBJECT - with_parameters


def _low(found: Finding) -> bool:
    """Of low findings the door says only that there are."""
    return found.check.severity is Severity.LOW


def _alerting() -> list[Any]:
    """What must alert, of every check of one object that needs no parameters."""
    return [
        pytest.param(tree, name, id=f"{name}-{number}")
        for name, case in CASES.items()
        if name in OF_ONE_OBJECT and not case.get("params")
        for number, entry in enumerate(case["alert"])
        if len(trees := _objects(entry)) == 1
        for tree in trees
    ]


@pytest.fixture(scope="module")
def door() -> Door:
    return Door()


@pytest.mark.parametrize(("written", "check"), _alerting())
def test_the_same_verdict_from_file_and_door(door: Door, written: Obj, check: str) -> None:
    tree = copy.deepcopy(written)
    namespace = tree.setdefault("metadata", {}).setdefault("name", "a") and tree["metadata"].get("namespace", "default")
    at_the_desk = {
        f"{found.check.id}[{found.container}]" if found.container and not _low(found) else found.check.id
        for found in judge([Item(tree)]).findings
        if found.check.id in OF_ONE_OBJECT
    }
    outcome = door.judge(tree, None, lambda tree: Around(AUDIT, [], {}), namespace, NOW)
    named = {name for name in outcome.annotation.split(",") if name}
    assert named == at_the_desk
    assert check in {name.partition("[")[0] for name in named}
    assert (outcome.refusal, outcome.warnings) == ("", ())


@pytest.mark.parametrize(
    ("namespace", "labels", "mode", "severity"),
    [
        ("shop", {}, "enforce", Severity.CRITICAL),
        ("kube-system", {}, "audit", Severity.CRITICAL),
        ("", {}, "warn", Severity.CRITICAL),
        ("kube-system", {"guard.pilothouse.dev/mode": "enforce"}, "enforce", Severity.CRITICAL),
        ("shop", {"guard.pilothouse.dev/severity": "high"}, "enforce", Severity.HIGH),
        ("shop", {"guard.pilothouse.dev/mode": "nonsense"}, "enforce", Severity.CRITICAL),
    ],
)
def test_settings(namespace: str, labels: dict[str, str], mode: str, severity: Severity) -> None:
    settings = settings_of(namespace, labels)
    assert (settings.mode, settings.severity) == (mode, severity)


def test_critical_is_refused_and_the_worst_of_the_rest_are_told() -> None:
    rest = [finding(f"check-{n}", Severity.MEDIUM) for n in range(9)]
    outcome = said(rest, Settings())
    assert outcome.refusal == ""
    assert len(outcome.warnings) == MOST_WARNINGS + 1
    assert outcome.warnings[-1].startswith(f"guard: {9 - MOST_WARNINGS} more findings")
    refused = said([*rest, finding("worst", Severity.CRITICAL)], Settings())
    assert refused.refusal.startswith("the guard found worst (critical): container c: is bad. Why and how to mend it:")
    assert refused.annotation == "worst[c]"


def test_one_line_for_one_check_in_several_containers() -> None:
    several = [finding("x", Severity.HIGH, container=name) for name in ("a", "b")]
    assert said(several, Settings()).warnings == ("guard: x (high): containers a, b: is bad",)


def test_low_findings_are_only_counted() -> None:
    outcome = said([finding("x", Severity.LOW), finding("y", Severity.LOW)], Settings())
    assert outcome.warnings == (
        "guard: 2 more findings of less weight; pilothouse check shows all of them, and how to mend them",
    )


def test_only_what_a_write_brings_is_refused_or_told() -> None:
    worst, other = finding("worst", Severity.CRITICAL), finding("other", Severity.CRITICAL)
    assert said([worst], Settings(), before=[worst]) == Outcome(annotation="worst[c]")
    assert "other" in said([worst, other], Settings(), before=[worst]).refusal


@pytest.mark.parametrize(
    ("enforced", "warned", "refused", "told"),
    [
        ("baseline", "restricted", True, False),
        ("privileged", "restricted", False, False),
        ("privileged", "privileged", False, True),
    ],
)
def test_pod_securitys_own(enforced: str, warned: str, refused: bool, told: bool) -> None:
    named = finding("x", Severity.CRITICAL, "Pod Security Standards: baseline; CIS 5.2.2")
    outcome = said([named], Settings(enforced=enforced, warned=warned))
    assert (bool(outcome.refusal), bool(outcome.warnings)) == (refused, told)


def test_controllers_are_told_nothing() -> None:
    outcome = said([finding("x", Severity.HIGH)], Settings(), heard=False)
    assert (outcome.warnings, outcome.annotation) == ((), "x[c]")
    assert said([finding("x", Severity.CRITICAL)], Settings(), heard=False).refusal


def test_no_check_looks_at_what_a_verdict_is_remembered_without() -> None:
    times = re.compile(r"metadata\.\??(uid|creationTimestamp|generation|resourceVersion|managedFields)\b")
    names = re.compile(r"metadata\.\??(name|generateName)\b")
    about_pods = set()
    for policy in shipped_policies():
        written = [entry.expression for entry in (*policy.conditions, *policy.variables, *policy.audit)]
        for rule in policy.validations:
            written += [rule.expression, rule.message_expression]
        assert not [text for text in written if times.search(text)], policy.name
        resources = {name for rule in policy.constraints["resourceRules"] for name in rule["resources"]}
        if "pods" in resources and any(names.search(text) for text in written):
            about_pods.add(check_of(policy).id)
    assert about_pods == {"default-namespace-used"}  # it looks at names of other kinds only


def test_another_pod_of_the_same_workload_has_the_same_verdict(door: Door) -> None:
    def pod(name: str, image: str) -> Obj:
        volume = {"name": f"kube-api-access-{name}", "emptyDir": {}}
        spec = {"containers": [{"name": "c", "image": image}], "volumes": [volume]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n"}, "spec": spec}

    found = [
        door.judge(pod(name, image), None, lambda tree: Around(AUDIT, [], {}), "n", NOW).annotation
        for name, image in (("aaaaa", "i:1"), ("bbbbb", "i:1"), ("ccccc", "i"))
    ]
    assert found[0] == found[1]
    assert "image-latest-tag" in found[2]
    assert "image-latest-tag" not in found[0]


def test_what_leaves_all_that_checks_look_at_alone_is_not_judged(door: Door) -> None:
    old: Obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1}}
    new: Obj = {**old, "metadata": {"name": "a", "finalizers": ["x"]}, "status": {"replicas": 1}}
    assert not door.concerns(new, old)
    assert door.concerns({**new, "spec": {"replicas": 2}}, old)
    assert not door.concerns({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {}}, None)
