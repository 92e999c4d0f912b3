from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.cli.manifests import read
from pilothouse.guard.finding import Finding, Item, Severity
from pilothouse.guard.judge import Options, Report, judge
from pilothouse.guard.removals import parse_version
from pilothouse.guard.shipped import all_checks, shipped_policies
from pilothouse.machinery.objects import Obj

ROOT = Path(__file__).parents[3]
BAD = {"name": "bad", "image": "a:1", "securityContext": {"privileged": True}}
GOOD = {"name": "good", "image": "a:1"}


def judged(*trees: Obj, options: Options | None = None) -> Report:
    return judge([Item(tree) for tree in trees], options)


def of(report: Report, check_id: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check.id == check_id]


def _with(kind: str, api_version: str, path: str, spec: Obj) -> Obj:
    tree: Obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    place = tree
    for step in path.split("."):
        place = place.setdefault(step, {})
    place.update(spec)
    return tree


@pytest.mark.parametrize("field", ["containers", "initContainers", "ephemeralContainers"])
@pytest.mark.parametrize(
    ("kind", "api_version", "path"),
    [
        ("Pod", "v1", "spec"),
        ("PodTemplate", "v1", "template.spec"),
        ("ReplicationController", "v1", "spec.template.spec"),
        ("Deployment", "apps/v1", "spec.template.spec"),
        ("ReplicaSet", "apps/v1", "spec.template.spec"),
        ("StatefulSet", "apps/v1", "spec.template.spec"),
        ("DaemonSet", "apps/v1", "spec.template.spec"),
        ("Job", "batch/v1", "spec.template.spec"),
        ("CronJob", "batch/v1", "spec.jobTemplate.spec.template.spec"),
        ("Rollout", "argoproj.io/v1alpha1", "spec.template.spec"),
    ],
)
def test_every_kind_of_container_of_every_kind_with_a_pod_is_read(
    kind: str, api_version: str, path: str, field: str
) -> None:
    spec: Obj = {"containers": [GOOD]}
    spec[field] = [*spec.get(field, []), BAD]
    found = of(judged(_with(kind, api_version, path, spec)), "container-privileged")

    index = 1 if field == "containers" else 0
    assert [(f.container, f.field) for f in found] == [("bad", f"{path}.{field}[{index}].securityContext.privileged")]


def test_the_example_has_nothing_high_or_critical() -> None:
    manifests, problems = read(str(ROOT / "examples" / "shop"))
    report = judge([Item(m.tree, m.file, m.line_of) for m in manifests])

    assert not problems
    assert [str(f) for f in report.findings if f.check.severity >= Severity.HIGH] == []
    assert [missed for missed in report.not_evaluated if missed.unusual] == []


def test_findings_have_the_line_of_their_field(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostPID: true\n  containers: [{name: a, image: a}]\n"
    )
    file.write_text(text)
    manifests, _ = read(str(file))
    report = judge([Item(m.tree, m.file, m.line_of) for m in manifests])

    assert [(f.file, f.line) for f in of(report, "pod-host-pid")] == [(str(file), 5)]


def test_null_fields_are_fields_left_out() -> None:
    pod = {"hostPID": None, "containers": [GOOD | {"securityContext": None, "env": None}]}
    report = judged(_with("Pod", "v1", "spec", pod))

    assert not [missed for missed in report.not_evaluated if missed.unusual]
    assert not of(report, "pod-host-pid")


def test_a_tree_of_the_wrong_shape_is_not_checked_and_no_pass() -> None:
    report = judged(_with("Pod", "v1", "spec", {"containers": 3}))

    assert of(report, "schema-error")
    assert "container-privileged" in {missed.check_id for missed in report.not_evaluated if missed.unusual}


def test_an_unknown_kind_is_listed_and_its_metadata_checked() -> None:
    tree = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a", "labels": {"a": "b c"}}}
    report = judged(tree)

    assert of(report, "metadata-invalid")
    assert [(m.check_id, m.unusual) for m in report.not_evaluated] == [("schema-error", False)]


def test_the_version_decides_what_is_removed() -> None:
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"}}

    assert of(judged(budget, options=Options(parse_version("1.25"))), "api-version-removed")
    assert of(judged(budget, options=Options(parse_version("v1.24.3"))), "api-version-deprecated")
    assert not of(judged(budget, options=Options(parse_version("1.20"))), "api-version-deprecated")


@pytest.mark.parametrize("text", ["1", "one.two", ""])
def test_a_version_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as 1\.35"):
        parse_version(text)


def test_score_and_grade() -> None:
    nothing = judged()
    privileged = judged(_with("Pod", "v1", "spec", {"containers": [BAD]}))

    assert (nothing.score, nothing.grade) == (100, "-")
    assert privileged.grade == "F"
    assert 0 < privileged.score < 100


def test_every_check_says_what_it_must() -> None:
    checks = all_checks()

    assert len({check.id for check in checks}) == len(checks)
    assert all(check.title and check.why and check.remedy for check in checks)


def test_policies_are_objects_a_cluster_takes() -> None:
    """Their form by the published schema is checked by the check of form itself."""
    names = [policy.name for policy in shipped_policies()]
    folder = ROOT / "src" / "pilothouse" / "guard" / "checks"
    manifests, problems = read(str(folder))
    report = judge([Item(m.tree, m.file, m.line_of) for m in manifests])

    assert not problems
    assert len(manifests) == len(names)
    assert [str(f) for f in report.findings] == []


OTHER_TOOLS = (Path(__file__).parent / "other_tools.txt").read_text().split()


@pytest.mark.parametrize("name", OTHER_TOOLS)
def test_the_names_of_polaris_and_kube_linter_lead_to_a_check(name: str) -> None:
    listed = {
        part.partition(": ")[2] if ": " in part else part
        for check in all_checks()
        for entry in check.other_names.split(";")
        for part in entry.strip().split(", ")
    }

    assert name in listed
