"""Reports of other tools as findings: what they say, where it belongs, and what is told of what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.guard.finding import Ref, Severity
from pilothouse.guard.findings.model import Found
from pilothouse.guard.policy_reports.read import LARGEST, SOURCE, read_report
from pilothouse.machinery.objects import Obj

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web"}


def report(*results: Any, namespace: str = "shop", **more: Any) -> Obj:
    metadata = {"name": "r", **({"namespace": namespace} if namespace else {})}
    kind = "PolicyReport" if namespace else "ClusterPolicyReport"
    return {"apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": kind, "metadata": metadata, "results": [*results], **more}


def result(**more: Any) -> Obj:
    return {"policy": "require-labels", "result": "fail", "source": "kyverno", "resources": [POD], **more}


def only(tree: Obj, source: str = "kyverno") -> Found:
    (found,) = read_report(tree)[source]
    return found


def faults(tree: Obj) -> list[str]:
    return [found.finding.message for found in read_report(tree).get(SOURCE, ())]


def test_a_failed_rule() -> None:
    tree = result(
        rule="check-team",
        message="label team is required",
        severity="high",
        category="Best Practices",
        properties={"remediation": "add the label"},
    )
    finding = only(report(tree)).finding

    assert finding.ref == Ref("v1", "Pod", "shop", "web")
    assert (finding.check.id, finding.check.severity) == ("require-labels/check-team", Severity.HIGH)
    assert (finding.message, finding.check.remedy) == ("label team is required", "add the label")
    assert (finding.check.category, finding.check.standards) == ("security", "Best Practices")


def test_what_passed_or_was_skipped_is_no_finding() -> None:
    assert read_report(report(result(result="pass"), result(result="skip"))) == {}


@pytest.mark.parametrize(
    ("said", "severity", "wanted"),
    [
        ("fail", None, Severity.MEDIUM),
        ("warn", None, Severity.LOW),
        ("fail", "info", Severity.LOW),
        ("warn", "critical", Severity.CRITICAL),
        ("error", None, Severity.MEDIUM),
    ],
)
def test_severities(said: str, severity: str | None, wanted: Severity) -> None:
    found = only(report(result(result=said, **({"severity": severity} if severity else {})))).finding
    assert found.check.severity is wanted
    assert found.message.startswith("could not be checked: ") == (said == "error")


def test_the_tool_is_the_source_and_none_passes_for_ours() -> None:
    found = read_report(report(result(source="Trivy Vulnerability"), result(source="checks"), result(source="")))
    assert set(found) == {"trivy-vulnerability", "checks-reported", "policy-report"}
    managed = report(result(source=None))
    managed["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "kube-bench"}
    assert set(read_report(managed)) == {"kube-bench"}
    assert set(read_report({**report(result(source=None)), "source": "Falco"})) == {"falco"}  # openreports.io


def test_what_a_result_is_about() -> None:
    scope = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    bare = result(resources=None)
    assert only(report(bare, scope=scope)).finding.ref == Ref("apps/v1", "Deployment", "shop", "web")
    assert only(report(bare)).finding.ref == Ref("wgpolicyk8s.io/v1alpha2", "PolicyReport", "shop", "r")
    node = {"apiVersion": "v1", "kind": "Node", "name": "one"}
    assert only(report(result(resources=[node]), namespace="")).finding.ref == Ref("v1", "Node", "", "one")
    assert len(read_report(report(result(resources=[POD, {**POD, "name": "other"}])))["kyverno"]) == 2


def test_a_namespaced_report_says_nothing_of_other_namespaces() -> None:
    tree = report(result(resources=[{**POD, "namespace": "bank"}]), result())
    assert [found.finding.ref.namespace for found in read_report(tree)["kyverno"]] == ["shop"]
    assert faults(tree) == [
        "1 of its 2 results cannot be read: results[0] is about an object of another namespace, bank"
    ]
    assert only(report(result(resources=[{**POD, "namespace": "bank"}]), namespace="")).finding.ref.namespace == "bank"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (3, "results[0] is no object"),
        (result(result="maybe"), "results[0].result is 'maybe'; there are pass, fail, warn, error, skip"),
        (result(severity="dire"), "results[0].severity is 'dire'"),
        (result(policy=None), "results[0].policy is missing"),
        (result(message=["a"]), "results[0].message is no text"),
        (result(resources={"kind": "Pod"}), "results[0].resources is no list"),
        (result(resources=[{"name": "a"}]), "an object it is about has no kind and name"),
        (result(resources=["a"]), "an object it is about has no kind and name"),
        (result(resources=[POD] * 101), "names more than 100 resources"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_read(wrong: Any, told: str) -> None:
    tree = report(wrong, result())
    assert len(read_report(tree)["kyverno"]) == 1
    (fault,) = faults(tree)
    assert told in fault
    assert fault.startswith("1 of its 2 results cannot be read: ")


def test_a_report_of_another_shape() -> None:
    assert faults({**report(), "results": {"a": 1}}) == ["results is no list"]
    assert read_report({"apiVersion": "a/v1", "kind": "PolicyReport"}) == {}


def test_the_worst_of_very_many_are_kept() -> None:
    many = [result(policy=f"p{number}", severity="low") for number in range(LARGEST)]
    tree = report(*many, result(policy="worst", severity="critical"))
    found = read_report(tree)["kyverno"]
    assert len(found) == LARGEST
    assert "worst" in {entry.finding.check.id for entry in found}
    assert faults(tree) == [f"has {LARGEST + 1} findings; the {LARGEST} worst of them are kept"]


def test_long_texts_are_cut() -> None:
    finding = only(report(result(policy="p" * 5_000, message="m" * 5_000))).finding
    assert (len(finding.check.id), len(finding.message)) == (200, 1_000)
