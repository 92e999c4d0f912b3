"""What does not fit the kinds a policy names."""

from __future__ import annotations

from typing import Any

from pilothouse.kinds.catalogue import by_resource
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.policy.admission.typecheck import warnings


def find(group: str, version: str, plural: str) -> Resource | None:
    kind = by_resource(group, version, plural)
    return None if kind is None else kind.resource


def policy(*expressions: str, resources: list[str] | None = None, **spec: Any) -> Obj:
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": resources or ["deployments"],
    }
    validations = [{"expression": text} for text in expressions]
    return {"spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": validations, **spec}}


def test_what_fits_gives_no_warning() -> None:
    variables = [{"name": "pod", "expression": "object.spec.template.spec"}]
    fine = (
        "object.spec.replicas > 1 && oldObject.metadata.name == request.name",
        "variables.pod.containers.all(c, c.?resources.requests['cpu'].orValue('') != '')",
        "variables.pod.containers.all(c, c.ports[0].containerPort > 1)",
        "object.metadata.creationTimestamp < timestamp('2020-01-01T00:00:00Z') && object.metadata.labels['a'] == 'b'",
        "object.spec.template.spec.containers[0].ports[0].name == 'x' || object.spec.strategy.type == 'Recreate'",
    )
    assert warnings(policy(*fine, variables=variables), find) == []


def test_a_field_that_is_none_is_told_for_each_kind() -> None:
    found = warnings(policy("object.spec.replicas > 1", resources=["deployments", "daemonsets"]), find)
    assert found == [
        {
            "fieldRef": "spec.validations[0].expression",
            "warning": "apps/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'replicas'\n"
            " | object.spec.replicas > 1\n | ...........^\n",
        }
    ]


def test_variables_and_messages_are_looked_at() -> None:
    validations = [{"expression": "variables.n > 1", "messageExpression": "'only ' + object.spec.replicas"}]
    variables = [{"name": "n", "expression": "object.spec.nope"}]
    found = warnings(policy(validations=validations, variables=variables), find)
    assert [entry["fieldRef"] for entry in found] == [
        "spec.variables[0].expression",
        "spec.validations[0].messageExpression",
    ]
    assert "applied to '(string, int)'" in found[1]["warning"]


def test_what_is_not_built_in_or_behind_an_asterisk_is_not_looked_at() -> None:
    assert warnings(policy("object.nope", resources=["*", "widgets"]), find) == []


def test_a_shape_within_itself_may_be_anything() -> None:
    rule = {"apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["v1"], "resources": ["customresourcedefinitions"]}
    text = "object.spec.versions.all(v, v.schema.openAPIV3Schema.properties['a'].whatever == 1)"
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": text}]}
    assert warnings({"spec": spec}, find) == []
