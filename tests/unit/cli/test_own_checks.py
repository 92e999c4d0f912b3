"""`pilothouse check --checks DIR`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from pilothouse.cli.main import app
from pilothouse.cli.own_checks import read_own
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import Options, Report, judge
from pilothouse.machinery.objects import Obj

EXAMPLE = Path(__file__).parents[3] / "examples" / "checks"
RULE = "object.spec.replicas <= 3"


def deployment(**spec: Any) -> Obj:
    containers = [{"name": "app", "image": "a:1"}]
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}}
    whole = {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": whole}


def policy(name: str = "few", expression: str = RULE, **spec: Any) -> Obj:
    texts = {"id": name, "title": "t", "severity": "high", "category": "hygiene", "why": "w", "remedy": "r"}
    rule = {"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["deployments"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "annotations": {f"pilothouse.io/{key}": text for key, text in texts.items()}},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression, "message": "too many"}],
            **spec,
        },
    }


def binding(of: str, **spec: Any) -> Obj:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": of},
        "spec": {"policyName": of, "validationActions": ["Deny"], **spec},
    }


def limit(name: str, most: int) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"most": str(most)}}


def folder(place: Path, *trees: Obj) -> Path:
    place.mkdir(exist_ok=True)
    (place / "checks.yaml").write_text(yaml.safe_dump_all(trees, sort_keys=False))
    return place


def judged(place: Path, *trees: Obj) -> Report:
    own, unread = read_own([str(place)])
    assert unread == []
    return judge([Item(tree) for tree in trees], Options(own=own))


def found(report: Report, *ids: str) -> list[tuple[str, str]]:
    wanted = ids or ("few",)
    return [(finding.check.id, finding.message) for finding in report.findings if finding.check.id in wanted]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_an_own_check_is_asked_beside_ours(tmp_path: Path) -> None:
    checks = folder(tmp_path / "checks", policy())
    manifest = tmp_path / "a.json"
    manifest.write_text(json.dumps(deployment(replicas=4)))

    result = run(manifest, "--checks", checks, "-o", "json")

    ids = {finding["id"] for finding in json.loads(result.stdout)["findings"]}
    assert {"few", "container-privilege-escalation"} <= ids
    assert found(judged(checks, deployment(replicas=3))) == []


def test_the_example_finds_containers_and_places() -> None:
    tree = deployment(replicas=9)
    tree["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": 80}}

    report = judged(EXAMPLE, tree)

    places = {f.check.id: (f.container, f.field) for f in report.findings if f.check.id.startswith("shop")}
    assert places == {
        "shop-replicas": ("", "spec.replicas"),
        "shop-probe-path": ("app", "spec.template.spec.containers[0].readinessProbe.httpGet.path"),
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (policy(expression="object.spec.replicas <="), "validations[0].expression: compilation failed"),
        (policy(expression="1 + 1"), "must evaluate to bool"),
        (policy(variables=[{"name": "a", "expression": "nothing.b"}]), "variables[0].expression"),
        (policy("container-privileged"), "is that of a check that ships with Pilothouse"),
        (policy("two"), "the id two is that of the check at"),
        (policy("Not_A_Name"), "annotation pilothouse.io/id"),
        (policy(validations=3), "spec.validations"),
        (policy(matchConstraints={"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Odd"}]}}), "Odd"),
        (policy() | {"metadata": {"name": "plain"}}, "annotation pilothouse.io/id is missing"),
        (binding("nobody"), "there is no policy nobody beside it"),
    ],
)
def test_a_check_that_cannot_be_used_is_told_with_its_line_and_the_rest_runs(
    tmp_path: Path, wrong: Obj, said: str
) -> None:
    checks = folder(tmp_path / "checks", policy("two"), wrong)
    manifest = tmp_path / "a.json"
    manifest.write_text(json.dumps(deployment(replicas=4)))

    result = run(manifest, "--checks", checks)

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    line = int(result.output.partition(f"not read: {checks}/checks.yaml:")[2].partition(":")[0])
    assert line > len(yaml.safe_dump(policy("two")).splitlines())
    assert "[two]" in result.output


def test_a_folder_without_checks_is_no_pass(tmp_path: Path) -> None:
    manifest = tmp_path / "a.json"
    manifest.write_text(json.dumps(limit("a", 1)))

    assert "there is no ValidatingAdmissionPolicy" in run(manifest, "--checks", manifest).output
    assert run(manifest, "--checks", manifest).exit_code == 2
    assert run(manifest, "--checks", tmp_path / "typo").exit_code == 2


def test_parameters_come_from_what_is_named_as_the_check_or_by_bindings(tmp_path: Path) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    with_params = policy(expression="object.spec.replicas <= int(params.data.most)", paramKind=kind)
    two = [
        binding("few", paramRef={"name": "loose"}),
        binding(
            "few", paramRef={"name": "tight"}, matchResources={"objectSelector": {"matchLabels": {"tier": "gold"}}}
        ),
    ]
    by_name = folder(tmp_path / "by-name", with_params, limit("few", 3))
    bound = folder(tmp_path / "bound", with_params, *two, limit("loose", 9), limit("tight", 2))
    none = folder(tmp_path / "none", with_params)
    gold = deployment(replicas=5)
    gold["metadata"]["labels"] = {"tier": "gold"}

    assert found(judged(by_name, deployment(replicas=5))) == [("few", "too many")]
    assert found(judged(bound, deployment(replicas=5))) == []
    assert found(judged(bound, gold)) == [("few", "too many")]
    missed = [entry for entry in judged(none, gold).not_evaluated if entry.check_id == "few"]
    assert [(entry.unusual, "needs parameters" in entry.reason) for entry in missed] == [(False, True)]


def test_what_only_a_live_request_has_is_listed_as_not_evaluated(tmp_path: Path) -> None:
    checks = folder(
        tmp_path / "checks",
        policy("who", "request.userInfo.username != 'x'"),
        policy("may", "authorizer.group('').resource('pods').check('get').allowed()"),
    )

    report = judged(checks, deployment())

    reasons = {entry.check_id: entry.reason for entry in report.not_evaluated}
    assert reasons["who"] == "not evaluated: request is known only to a live request"
    assert reasons["may"] == "not evaluated: authorizer is known only to a live request"


def test_a_namespace_is_read_where_it_is_among_the_objects(tmp_path: Path) -> None:
    checks = folder(tmp_path / "checks", policy(expression="namespaceObject.metadata.labels.tier != 'gold'"))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"tier": "gold"}}}

    assert found(judged(checks, deployment(), space)) == [("few", "too many")]
    alone = judged(checks, deployment())
    assert found(alone) == []
    assert "few" in {entry.check_id for entry in alone.not_evaluated}


def test_an_error_is_not_checked_and_never_a_pass(tmp_path: Path) -> None:
    checks = folder(tmp_path / "checks", policy(expression="object.spec.nowhere == 1"))

    report = judged(checks, deployment())

    assert found(report) == []
    missed = [entry for entry in report.not_evaluated if entry.check_id == "few"]
    assert [entry.unusual for entry in missed] == [True]
    assert "no such key: nowhere" in missed[0].reason


def test_an_endless_expression_is_ended_and_then_not_asked_any_more(tmp_path: Path) -> None:
    numbers = "[1,2,3,4,5,6,7,8,9,10]"
    endless = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, {numbers}.all(d, {numbers}.all(e, {numbers}.all(f, "
    endless += f"{numbers}.all(g, {numbers}.all(h, a + b + c + d + e + f + g + h > 0))))))))"
    checks = folder(tmp_path / "checks", policy("endless", endless), policy())
    trees = [deployment(replicas=4) for _ in range(5)]

    report = judged(checks, *trees)

    reasons = [entry.reason for entry in report.not_evaluated if entry.check_id == "endless"]
    assert ["cancelled" in reason for reason in reasons] == [True, True, True, False, False]
    assert "not asked any more" in reasons[3]
    assert len(found(report)) == 5


def test_fields_that_are_nowhere_do_no_harm(tmp_path: Path) -> None:
    audit = [{"key": "fields", "valueExpression": "'spec.containers[99].image,spec.template.spec.containers[7].x,[[]'"}]
    checks = folder(tmp_path / "checks", policy(auditAnnotations=audit))

    assert len(found(judged(checks, deployment(replicas=4)))) == 3


def test_explain_knows_own_checks() -> None:
    result = run("--explain", "shop-replicas", "--checks", EXAMPLE)

    assert result.exit_code == 0
    assert "More replicas than the team pays for" in result.output
