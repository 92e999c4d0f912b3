"""Policies, bindings and webhooks: defaults, and what is refused in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.admissionregistration import (
    mutating_webhook_configuration,
    validating_admission_policy,
    validating_admission_policy_binding,
    validating_webhook_configuration,
)
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj

RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}


def policy(**spec: Any) -> Obj:
    whole = {"matchConstraints": {"resourceRules": [dict(RULE)]}, "validations": [{"expression": "true"}], **spec}
    return {"metadata": {"name": "p"}, "spec": whole}


def binding(**spec: Any) -> Obj:
    return {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"], **spec}}


def webhook(**fields: Any) -> Obj:
    whole = {
        "name": "a.example.com",
        "rules": [dict(RULE)],
        "clientConfig": {"url": "https://localhost:1/x"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }
    return {"metadata": {"name": "w"}, "webhooks": [{key: value for key, value in whole.items() if value is not None}]}


def problems(kind: Kind, obj: Obj) -> list[str]:
    kind.default(obj)
    return [f"{cause.field}: {cause.message}" for cause in kind.validate(obj)]


def test_defaults() -> None:
    made = policy()
    assert problems(validating_admission_policy.KIND, made) == []
    assert made["spec"]["failurePolicy"] == "Fail"
    constraints = made["spec"]["matchConstraints"]
    assert (constraints["matchPolicy"], constraints["namespaceSelector"]) == ("Equivalent", {})
    assert constraints["resourceRules"][0]["scope"] == "*"
    service = {"name": "s", "namespace": "n"}
    hook = webhook(clientConfig={"service": service})
    assert problems(mutating_webhook_configuration.KIND, hook) == []
    found = hook["webhooks"][0]
    assert (found["timeoutSeconds"], found["failurePolicy"], found["reinvocationPolicy"]) == (10, "Fail", "Never")
    assert service["port"] == 443
    other = webhook()
    assert problems(validating_webhook_configuration.KIND, other) == []
    assert "reinvocationPolicy" not in other["webhooks"][0]
    bound = binding(paramRef={"name": "x"})
    missing = ["spec.paramRef.parameterNotFoundAction: Required value"]
    assert problems(validating_admission_policy_binding.KIND, bound) == missing


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"matchConstraints": None}, "spec.matchConstraints: Required value"),
        ({"matchConstraints": {}}, "spec.matchConstraints.resourceRules: Required value"),
        (
            {"validations": []},
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
        ),
        ({"validations": [{"expression": " "}]}, "expression: Required value: expression is not specified"),
        ({"validations": [{"expression": "true", "message": "a\nb"}]}, "message must not contain line breaks"),
        (
            {"validations": [{"expression": "true", "reason": "NotFound"}]},
            'spec.validations[0].reason: Unsupported value: "NotFound": supported values: "Forbidden", "Invalid", '
            '"RequestEntityTooLarge"',
        ),
        ({"failurePolicy": "Maybe"}, 'spec.failurePolicy: Unsupported value: "Maybe"'),
        ({"paramKind": {"kind": "A B"}}, "spec.paramKind.apiVersion: Required value"),
        ({"variables": [{"name": "a-b", "expression": "1"}]}, "name is not a valid CEL identifier"),
        ({"matchConditions": [{"name": "a", "expression": ""}]}, "matchConditions[0].expression: Required value"),
        (
            {"matchConditions": [{"name": "a", "expression": "true"}] * 2},
            'spec.matchConditions[1].name: Duplicate value: "a"',
        ),
        ({"auditAnnotations": [{"key": "a b", "valueExpression": "'x'"}]}, "spec.auditAnnotations[0].key: Invalid"),
    ],
)
def test_policies_refused(spec: Obj, message: str) -> None:
    assert any(message in found for found in problems(validating_admission_policy.KIND, policy(**spec)))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"operations": []}, "operations: Required value"),
        ({"operations": ["*", "CREATE"]}, "if '*' is present, must not specify other operations"),
        ({"operations": ["READ"]}, 'operations[0]: Unsupported value: "READ"'),
        ({"apiGroups": ["*", "apps"]}, "if '*' is present, must not specify other API groups"),
        ({"apiVersions": [""]}, "apiVersions[0]: Required value"),
        ({"resources": ["pods/*", "pods/exec"]}, "if 'pods/*' is present, must not specify pods/exec"),
        ({"resources": ["*", "pods"]}, "if '*' is present, must not specify other resources without subresources"),
        ({"scope": "Galaxy"}, 'scope: Unsupported value: "Galaxy"'),
        ({"resourceNames": ["a", "a"]}, 'resourceNames[1]: Duplicate value: "a"'),
    ],
)
def test_rules_refused(rule: Obj, message: str) -> None:
    constraints = {"resourceRules": [{**RULE, **rule}]}
    found = problems(validating_admission_policy.KIND, policy(matchConstraints=constraints))
    assert any(message in entry for entry in found)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"policyName": ""}, "spec.policyName: Required value"),
        ({"validationActions": []}, "at least one validation action is required"),
        ({"validationActions": ["Deny", "Warn"]}, "must not contain both Deny and Warn"),
        ({"validationActions": ["Deny", "Deny"]}, 'spec.validationActions[1]: Duplicate value: "Deny"'),
        ({"paramRef": {}}, "spec.paramRef: Required value: one of name or selector must be specified"),
        ({"paramRef": {"name": "x", "selector": {}}}, "name and selector are mutually exclusive"),
    ],
)
def test_bindings_refused(spec: Obj, message: str) -> None:
    found = problems(validating_admission_policy_binding.KIND, binding(**spec))
    assert any(message in entry for entry in found)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "short"}, "should be a domain with at least three segments separated by dots"),
        ({"sideEffects": None}, "sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        ({"sideEffects": "Some"}, 'sideEffects: Unsupported value: "Some"'),
        ({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds"),
        ({"clientConfig": {}}, "clientConfig: Required value: exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://a/"}}, "'https' is the only allowed URL scheme"),
        ({"clientConfig": {"url": "https://u@a/?q"}}, "query parameters are not permitted in the URL"),
        ({"clientConfig": {"service": {"name": "s"}}}, "service namespace is required"),
        ({"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "x"}}}, "must start with a '/'"),
        ({"admissionReviewVersions": ["v9"]}, "must include at least one of v1, v1beta1"),
        ({"admissionReviewVersions": []}, "must specify one of v1, v1beta1"),
        ({"objectSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, "not a valid selector operator"),
    ],
)
def test_webhooks_refused(fields: Obj, message: str) -> None:
    for kind in (validating_webhook_configuration.KIND, mutating_webhook_configuration.KIND):
        assert any(message in entry for entry in problems(kind, webhook(**fields)))
