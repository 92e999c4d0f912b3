from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import yaml
from report_schemas import JUNIT, SarifLog
from test_cases import CASES, _objects

from pilothouse.guard.baseline import BadBaseline, fingerprints, new_only
from pilothouse.guard.finding import Check, Finding, Item, NotEvaluated, Ref, Severity
from pilothouse.guard.judge import Accepted, Report, judge
from pilothouse.guard.report import FORMATS
from pilothouse.guard.report.document import Outcome, Unread, document
from pilothouse.guard.report.text import explanation, text_report
from pilothouse.machinery.objects import Obj

GOLDEN = Path(__file__).parents[2] / "golden" / "guard"
CHECK = Check("a-check", "A title", Severity.HIGH, "security", "It matters.", "spec:\n  a: b", "CIS 1", "Other: x")
LOW = Check("b-check", "B title", Severity.LOW, "hygiene", "It matters little.", "a: b")
REF = Ref("apps/v1", "Deployment", "shop", "app")


def outcome() -> Outcome:
    findings = (
        Finding(CHECK, REF, "is wrong", "web", "spec.template.spec.containers[0].image", "dir/a b.yaml", 7),
        Finding(CHECK, REF, "is wrong", "side", "spec.template.spec.containers[1].image", "dir/a b.yaml", 9),
        Finding(LOW, Ref("v1", "Namespace", "", "n"), "50% | <b>\n::x", "", "metadata", "", 0),
    )
    missed = (
        NotEvaluated("c-check", REF, "evaluation error: no such key", "dir/a b.yaml", 3),
        NotEvaluated("d-check", REF, "not evaluated: needs parameters", "dir/a b.yaml", 3, unusual=False),
    )
    return Outcome(Report(findings, missed, 3, 11), (Unread("bad.yaml", "did not find ']'", 4),))


def test_text_is_grouped_by_object() -> None:
    assert text_report(outcome()) == (GOLDEN / "report.txt").read_text()


def test_json_is_the_document_written_out() -> None:
    for one in (outcome(), replace(outcome(), report=Report((), (), 0))):
        written = FORMATS["json"](one)
        assert json.loads(written) == document(one)
        assert written == json.dumps(document(one), indent=2, ensure_ascii=False) + "\n"


def test_markdown() -> None:
    assert FORMATS["markdown"](outcome()) == (GOLDEN / "report.md").read_text()


def test_github_commands_are_escaped_one_a_line() -> None:
    lines = FORMATS["github"](outcome()).splitlines()

    assert lines[0] == "::error file=bad.yaml,line=4,title=not read::did not find ']'"
    assert lines[1].startswith(
        "::error file=dir/a b.yaml,line=7,title=a-check::apps/v1/Deployment/shop/app: container web"
    )
    assert "50%25 | <b>%0A::x" in lines[3]
    assert all(line.startswith("::") for line in lines)
    assert len(lines) == 6


def test_gitlab_has_an_issue_for_everything_with_a_fingerprint_of_its_own() -> None:
    whole = outcome()
    twice = replace(whole, report=replace(whole.report, findings=whole.report.findings * 2))
    issues = json.loads(FORMATS["gitlab"](twice))

    assert [issue["severity"] for issue in issues] == ["critical", "critical", "minor"] * 2 + ["blocker"] * 2
    assert issues[0]["location"] == {"path": "dir/a b.yaml", "lines": {"begin": 7}}
    assert issues[2]["location"] == {"path": ".", "lines": {"begin": 1}}
    assert issues[0]["description"].startswith("apps/v1/Deployment/shop/app: container web is wrong")
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    assert all(set(issue) == {"check_name", "description", "fingerprint", "severity", "location"} for issue in issues)


def test_csv_has_a_row_for_everything() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](outcome()))))

    assert [row["severity"] for row in rows] == ["high", "high", "low", "not-checked", "not-checked", "not-evaluated"]
    assert rows[0]["object"] == str(REF)
    assert rows[0]["container"] == "web"


def test_csv_cells_are_no_formulas() -> None:
    finding = Finding(LOW, Ref("v1", "Pod", "", "a"), "=1+1")
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](Outcome(Report((finding,), (), 1))))))

    assert rows[0]["message"] == "'=1+1"


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_documents_name_object_container_and_field(name: str) -> None:
    tree = yaml.safe_load(FORMATS[name](outcome()))

    first = tree["findings"][0]
    assert (first["object"], first["container"]) == ("apps/v1/Deployment/shop/app", "web")
    assert first["field"] == "spec.template.spec.containers[0].image"
    assert tree["complete"] is False
    assert [entry["byDesign"] for entry in tree["notEvaluated"]] == [False, True]


def test_sarif_has_the_required_structure() -> None:
    tree = json.loads(FORMATS["sarif"](outcome()))
    (run,) = tree["runs"]
    rules = run["tool"]["driver"]["rules"]

    assert tree["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == ["a-check", "b-check"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 3
    for result in run["results"]:
        _check_result(result, rules)


def _check_result(result: Obj, rules: list[Obj]) -> None:
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["level"] in ("none", "note", "warning", "error")
    assert result["message"]["text"]
    (location,) = result["locations"]
    assert location["logicalLocations"][0]["fullyQualifiedName"] == result["properties"]["object"]
    if "physicalLocation" in location:
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "dir/a%20b.yaml"
        assert location["physicalLocation"]["region"]["startLine"] >= 1


def test_sarif_names_container_and_field() -> None:
    result = json.loads(FORMATS["sarif"](outcome()))["runs"][0]["results"][0]

    names = [entry["fullyQualifiedName"] for entry in result["locations"][0]["logicalLocations"]]
    assert names[1:] == [f"{REF}/web", f"{REF}#spec.template.spec.containers[0].image"]


def test_junit_has_the_required_structure() -> None:
    root = ElementTree.fromstring(FORMATS["junit"](outcome()))

    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("errors", "")) == len(suite.findall("testcase/error"))
    assert (root.get("failures"), root.get("errors")) == ("3", "2")
    assert [case.get("name") for case in root.iterfind("testsuite[2]/testcase")] == ["a-check web", "a-check side"]


def test_junit_takes_characters_xml_has_none_for() -> None:
    finding = Finding(LOW, Ref("v1", "Pod", "", "a"), "a \x00 b")

    assert ElementTree.fromstring(FORMATS["junit"](Outcome(Report((finding,), (), 1)))) is not None


@pytest.mark.parametrize("name", FORMATS)
def test_accepted_findings_are_shown_as_accepted_and_counted_nowhere_else(name: str) -> None:
    finding = Finding(CHECK, REF, "is wrong", "web", "spec", "a.yaml", 7)
    report = Report(
        (), (), 1, 5, accepted=(Accepted(finding, "must | be", "team", "2027-03-31", "comment", "a.yaml", 6),)
    )
    text = FORMATS[name](Outcome(report))

    if name == "gitlab":
        assert json.loads(text) == []
        return
    assert "accepted: must" in text or name in ("json", "yaml")
    assert report.score == 100
    if name == "sarif":
        (result,) = json.loads(text)["runs"][0]["results"]
        (suppression,) = result["suppressions"]
        assert (suppression["kind"], suppression["status"]) == ("inSource", "accepted")
        assert suppression["location"]["physicalLocation"]["region"] == {"startLine": 6}
    elif name == "junit":
        root = ElementTree.fromstring(text)
        assert (root.get("failures"), root.get("errors")) == ("0", "0")
        assert len(root.findall("testsuite/testcase/skipped")) == 1
    elif name in ("json", "yaml"):
        tree = yaml.safe_load(text)
        assert tree["findings"] == []
        assert tree["accepted"][0]["id"] == "a-check"
        assert tree["accepted"][0]["exception"]["reason"] == "must | be"
    elif name == "github":
        assert text.startswith("::notice file=a.yaml,line=7")


def test_explanation() -> None:
    text = explanation(CHECK)

    assert "A title" in text
    assert "    spec:\n      a: b" in text
    assert "Other tools call it: Other: x" in text


def _privileged(*names: str) -> Report:
    containers: list[Any] = [{"name": n, "image": "a", "securityContext": {"privileged": True}} for n in names]
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}}
    return judge([Item(tree)])


def test_only_what_is_new_since_a_saved_run() -> None:
    before = fingerprints(FORMATS["json"](Outcome(_privileged("a"))))
    report = new_only(_privileged("b", "a"), before)

    assert {finding.container for finding in report.findings if finding.container} == {"b"}
    assert report.score == _privileged("b", "a").score


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "Pod"}', '{"kind": "PilothouseCheckReport"}'])
def test_a_baseline_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadBaseline):
        fingerprints(text)


def _outcomes() -> list[Outcome]:
    """A made one, and what the tables' cases give."""
    trees = [tree for case in CASES.values() for thing in case["alert"][:1] for tree in _objects(thing)]
    report = judge([Item(tree, f"some dir/{number}.yaml") for number, tree in enumerate(trees)])
    accepted = Accepted(report.findings[0], "must be", "team", "2027-03-31", "comment", "a.yaml", 6)
    return [
        outcome(),
        Outcome(replace(report, accepted=(accepted,)), (Unread("bad: file.yaml", "did not find ']'"),)),
        Outcome(judge([])),
    ]


@pytest.mark.parametrize("given", _outcomes(), ids=["made", "cases", "nothing"])
def test_sarif_has_what_the_standard_has_and_every_result_its_rule(given: Outcome) -> None:
    (run,) = msgspec.json.decode(FORMATS["sarif"](given), type=SarifLog).runs
    rules = [rule.id for rule in run.tool.driver.rules]

    assert len(set(rules)) == len(rules)
    assert [rules[result.rule_index] for result in run.results] == [result.rule_id for result in run.results]
    assert len(run.results) == len(given.report.findings) + len(given.report.accepted)
    assert sum(bool(result.suppressions) for result in run.results) == len(given.report.accepted)


@pytest.mark.parametrize("given", _outcomes(), ids=["made", "cases", "nothing"])
def test_junit_has_what_its_readers_know_and_counts_right(given: Outcome) -> None:
    root = ElementTree.fromstring(FORMATS["junit"](given))
    for element in root.iter():
        children, attributes = JUNIT[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.keys()) <= attributes
    for suite in (root, *root):
        for key, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
            assert int(suite.get(key, "")) == len(suite.findall(f".//{path}")), key
