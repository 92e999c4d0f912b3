"""Objects of custom kinds are held to the definitions they come with."""

from typing import Any

import pytest

from pilothouse.guard.finding import Item
from pilothouse.guard.judge import judge
from pilothouse.machinery.objects import Obj

GROUP = "example.com"


def definition(**fields: Any) -> Obj:
    spec = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer", "minimum": 1}, **fields}}
    schema = {"type": "object", "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "boats", "kind": "Boat"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def boat(**spec: Any) -> Obj:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": spec}


def found(*trees: Obj) -> tuple[list[tuple[str, str]], list[str]]:
    report = judge([Item(tree) for tree in trees])
    unfit = [(finding.field, finding.message) for finding in report.findings if finding.check.id == "schema-error"]
    return unfit, [entry.reason for entry in report.not_evaluated if entry.check_id == "schema-error"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"size": 0}, "spec.size", "should be greater than or equal to 1"),
        ({"size": "big"}, "spec.size", "must be of type integer"),
        ({"size": 1, "sise": 2}, "spec.sise", "unknown field spec.sise"),
        ({}, "spec.size", "Required value"),
    ],
)
def test_an_object_is_held_to_the_definition_beside_it(spec: Obj, field: str, message: str) -> None:
    unfit, missed = found(boat(**spec), definition())
    assert missed == []
    ((where, what),) = unfit
    assert where == field
    assert message in what


def test_a_good_object_is_fine_and_left_as_it_is() -> None:
    tree = boat(size=3)
    assert found(definition(colour={"type": "string", "default": "red"}), tree) == ([], [])
    assert tree["spec"] == {"size": 3}


def test_without_its_definition_it_is_told_that_nobody_looked() -> None:
    unfit, missed = found(boat(size=0))
    assert unfit == []
    assert "has no schema of" in missed[0]


def test_a_definition_with_faults_is_told_of_and_judges_nothing() -> None:
    unfit, missed = found(definition(odd={"type": "array"}), boat(size=0))
    assert [field for field, _ in unfit] == [
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[odd].items"
    ]
    assert len(missed) == 1


def test_a_definition_of_the_wrong_types_is_told_of() -> None:
    tree = definition()
    tree["spec"]["versions"] = "v1"
    unfit, _ = found(tree, boat(size=0))
    assert [field for field, _ in unfit] == ["spec.versions"]
