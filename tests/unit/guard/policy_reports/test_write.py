"""Findings as report objects: what is written says the same when it is read as another tool's."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st
from test_cases import CASES, _objects

from pilothouse.guard.finding import Check, Finding, Item, Ref, Severity
from pilothouse.guard.judge import judge
from pilothouse.guard.policy_reports.format import OPEN_REPORTS, POLICY_REPORTS, RESULTS
from pilothouse.guard.policy_reports.read import is_ours, read_report
from pilothouse.guard.policy_reports.write import MOST_RESULTS, Entry, report_object
from pilothouse.guard.report import FORMATS
from pilothouse.guard.report.document import Outcome, Unread
from pilothouse.machinery.objects import Obj

FINDINGS = st.builds(
    Finding,
    st.builds(
        Check,
        st.sampled_from(["a-check", "b-check"]),
        st.just("A title"),
        st.sampled_from(Severity),
        st.sampled_from(["security", "hygiene"]),
        st.just("It matters."),
        st.just("a: b"),
    ),
    st.builds(Ref, st.just("apps/v1"), st.just("Deployment"), st.just("shop"), st.sampled_from(["web", "app"])),
    st.sampled_from(["is wrong", "is worse"]),
)


@given(st.lists(FINDINGS, max_size=8), st.sampled_from([POLICY_REPORTS, OPEN_REPORTS]))
def test_what_is_written_is_read_as_it_was(findings: list[Finding], group: str) -> None:
    tree = report_object("shop", [Entry(finding) for finding in findings], group, "v1alpha1")

    assert is_ours(tree)
    read = [found.finding for entries in read_report(tree).values() for found in entries]
    wanted = [(f.check.id, f.check.severity, f.check.category, f.check.remedy, f.ref, f.message) for f in findings]
    assert sorted(wanted) == sorted(
        (f.check.id, f.check.severity, f.check.category, f.check.remedy, f.ref, f.message) for f in read
    )
    assert tree["summary"]["fail"] == len(findings)


def test_the_worst_are_written_and_all_are_counted() -> None:
    def finding(severity: Severity) -> Finding:
        check = Check("a", "A", severity, "security", "It matters.", "")
        return Finding(check, Ref("v1", "Pod", "shop", "web"), "is wrong")

    many = [Entry(finding(Severity.LOW))] * MOST_RESULTS + [Entry(finding(Severity.HIGH))]
    tree = report_object("shop", many, POLICY_REPORTS, "v1alpha2")
    assert tree["results"][0]["severity"] == "high"
    assert len(tree["results"]) == MOST_RESULTS
    assert tree["summary"]["fail"] == MOST_RESULTS + 1
    assert tree["metadata"]["annotations"] == {"guard.pilothouse.dev/left-out": "1"}


def documents(outcome: Outcome) -> list[Obj]:
    return list(yaml.safe_load_all(FORMATS["policyreport"](outcome)))


def test_the_report_of_a_check_has_every_finding_and_what_is_not_checked() -> None:
    trees = [tree for case in CASES.values() for thing in case["alert"][:1] for tree in _objects(thing)]
    report = judge([Item(tree) for tree in trees])
    found = documents(Outcome(report, (Unread("bad.yaml", "did not find ']'", 4),)))

    results = [result for tree in found for result in tree["results"]]
    failed = [result for result in results if result["result"] == "fail"]
    assert {result["policy"] for result in failed} == {finding.check.id for finding in report.findings}
    assert sum(tree["summary"]["fail"] for tree in found) == len(report.findings)
    assert "not-read" in {result["policy"] for result in results if result["result"] == "error"}
    for tree in found:
        assert tree["kind"] == ("PolicyReport" if "namespace" in tree["metadata"] else "ClusterPolicyReport")
        assert set(tree["summary"]) == set(RESULTS)
        assert len(tree["results"]) <= MOST_RESULTS
    places = [(tree["metadata"].get("namespace"), tree["metadata"]["name"]) for tree in found]
    assert len(places) == len(set(places))


def test_nothing_found_is_a_report_too() -> None:
    (tree,) = documents(Outcome(judge([])))
    assert (tree["kind"], tree["results"]) == ("ClusterPolicyReport", [])
