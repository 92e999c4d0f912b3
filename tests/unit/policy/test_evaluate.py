from __future__ import annotations

from typing import Any

import pytest

from pilothouse.machinery.objects import Obj
from pilothouse.policy.evaluate import Evaluator
from pilothouse.policy.load import InvalidPolicy, Policy, load_policy
from pilothouse.policy.match import Subject
from pilothouse.policy.verdict import Verdict

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
POD: Obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}}


def policy(expression: str, **spec: Any) -> Policy:
    validations = [{"expression": expression, "message": "said"} | spec.pop("validation", {})]
    body = {"matchConstraints": {"resourceRules": [RULE]}, "validations": validations} | spec
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy"}
    return load_policy({**kind, "metadata": {"name": "p"}, "spec": body})


def verdict(*policies: Policy, tree: Obj = POD, params: Obj | None = None) -> Verdict:
    return Evaluator(policies).evaluate(Subject(tree), {"p": params} if params else None)


def test_a_false_rule_is_a_violation_with_its_message() -> None:
    found = verdict(policy("object.metadata.name == 'b'"))

    assert [violation.message for violation in found.violations] == ["said"]
    assert not found.passed


def test_a_true_rule_passes() -> None:
    found = verdict(policy("object.metadata.name == 'a'"))

    assert found.violations == ()
    assert len(found.passed) == 1


@pytest.mark.parametrize(
    "expression",
    [
        "object.spec.none.at.all",
        "object.metadata.name",
        "int(object.metadata.name) == 1",
        "object.spec.containers[7] != 1",
    ],
)
def test_an_error_or_another_type_is_not_checked_and_no_pass(expression: str) -> None:
    found = verdict(policy(expression))

    assert found.passed == ()
    assert found.violations == ()
    assert found.not_checked[0].reason.startswith("evaluation error")


@pytest.mark.parametrize("name", ["request", "authorizer"])
def test_what_only_a_live_request_has_is_not_evaluated(name: str) -> None:
    found = verdict(policy(f"{name}.userInfo.username == 'a'"))

    assert "live request" in found.not_checked[0].reason
    assert found.passed == ()


def test_a_field_or_text_called_request_is_no_live_request() -> None:
    assert verdict(policy("!has(object.spec.request) && 'request' != ''")).passed


def test_parameters_are_needed_and_used() -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    wanted = policy("params.data.name == object.metadata.name", paramKind=kind)

    assert "needs parameters" in verdict(wanted).not_checked[0].reason
    assert verdict(wanted, params={"data": {"name": "a"}}).passed
    assert verdict(wanted, params={"data": {"name": "b"}}).violations


def test_conditions_take_an_object_out() -> None:
    found = verdict(policy("false", matchConditions=[{"name": "n", "expression": "object.metadata.name == 'b'"}]))

    assert found == Verdict()


def test_a_condition_that_errs_is_not_checked() -> None:
    found = verdict(policy("true", matchConditions=[{"name": "n", "expression": "object.none == 'b'"}]))

    assert found.not_checked
    assert not found.passed


def test_a_condition_that_is_false_outweighs_an_error_in_another() -> None:
    conditions = [{"name": "a", "expression": "object.none == 'b'"}, {"name": "b", "expression": "false"}]

    assert verdict(policy("true", matchConditions=conditions)) == Verdict()


def test_an_error_in_one_policy_leaves_the_others_alone() -> None:
    found = verdict(policy("object.none == 1"), policy("true"), policy("false"))

    assert [len(entries) for entries in found] == [1, 1, 1]


def test_variables_read_one_another() -> None:
    variables = [
        {"name": "spec", "expression": "object.spec"},
        {"name": "names", "expression": "variables.spec.containers.map(c, c.name)"},
    ]

    assert verdict(policy("variables.names == ['c'] && 'variables.spec' != ''", variables=variables)).passed


def test_a_shared_variable_that_errs_matters_only_where_it_is_read() -> None:
    variables = [{"name": "bad", "expression": "object.none.field"}]
    lazy = policy("object.metadata.name == 'a' || variables.bad == 1", variables=variables)
    needing = policy("variables.bad == 1", variables=variables)

    found = verdict(lazy, needing)

    assert [passed is lazy for passed in found.passed] == [True]
    assert [missed.policy is needing for missed in found.not_checked] == [True]


def test_audit_annotations_and_message_expressions_are_evaluated_for_violations() -> None:
    audit = [{"key": "fields", "valueExpression": "'spec.' + object.metadata.name"}]
    found = verdict(policy("false", auditAnnotations=audit, validation={"messageExpression": "object.kind + '!'"}))

    assert found.violations[0].message == "Pod!"
    assert found.violations[0].audit == {"fields": "spec.a"}


def test_a_message_expression_that_errs_falls_back() -> None:
    found = verdict(policy("false", validation={"messageExpression": "object.none"}))

    assert found.violations[0].message == "said"


@pytest.mark.parametrize(
    ("rule", "means_it"),
    [
        ({}, True),
        ({"apiGroups": ["*"], "resources": ["*"]}, True),
        ({"apiGroups": ["apps"]}, False),
        ({"resources": ["deployments"]}, False),
        ({"operations": ["DELETE"]}, False),
        ({"scope": "Cluster"}, True),
        ({"resourceNames": ["b"]}, False),
    ],
)
def test_rules_say_what_is_meant(rule: Obj, means_it: bool) -> None:
    found = verdict(policy("false", matchConstraints={"resourceRules": [RULE | rule]}))

    assert bool(found.violations) is means_it


def test_namespace_selectors_need_the_namespace_s_labels() -> None:
    constraints = {"resourceRules": [RULE], "namespaceSelector": {"matchLabels": {"team": "a"}}}
    evaluator = Evaluator([policy("false", matchConstraints=constraints)])
    tree = POD | {"metadata": {"name": "a", "namespace": "n"}}

    assert evaluator.evaluate(Subject(tree, {"team": "a"})).violations
    assert not evaluator.evaluate(Subject(tree, {"team": "b"})).violations


def test_a_rule_that_does_not_compile_is_named() -> None:
    with pytest.raises(InvalidPolicy, match=r"p: object\.\+"):
        Evaluator([policy("object.+")])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"auditAnotations": []}, "unknown field spec.auditAnotations"),
        ({"failurePolicy": "Maybe"}, "failurePolicy"),
        ({"matchConstraints": None}, "spec.matchConstraints is required"),
        ({"variables": [{"name": "a"}]}, r"spec.variables\[0\].expression is required"),
        ({"variables": [{"name": "a", "expression": "1"}] * 2}, "twice"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_by_name(change: Obj, said: str) -> None:
    with pytest.raises(InvalidPolicy, match=f"p: .*{said}"):
        policy("true", **change)


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(InvalidPolicy, match=r"variables\.none"):
        Evaluator([policy("variables.none")])
