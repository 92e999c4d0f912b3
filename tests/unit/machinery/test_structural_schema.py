"""Custom resources by their schema: what is dropped, filled in and refused."""

import copy
from string import ascii_lowercase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.apply.fields import field_set
from pilothouse.machinery.patterns import InvalidPattern, check_pattern, found_in
from pilothouse.machinery.structural_prune import fill_in, shape
from pilothouse.machinery.structural_schema import Structural, TooDeep, apply_node
from pilothouse.machinery.structural_validate import validate


def text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def of(**properties: Any) -> Structural:
    return Structural({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})


PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}


def pruned(schema: Structural, spec: Any) -> tuple[Any, list[str]]:
    tree = {"apiVersion": "e.x/v1", "kind": "K", "metadata": {"name": "a"}, "spec": copy.deepcopy(spec)}
    found = shape(schema, tree)
    return found.tree["spec"], [field.path for field in found.unknown]


@pytest.mark.parametrize(
    ("properties", "spec", "left", "unknown"),
    [
        ({"a": text()}, {"a": "x", "b": 1}, {"a": "x"}, ["spec.b"]),
        ({"a": text()}, {"a": None}, {}, []),
        ({"a": text(nullable=True)}, {"a": None}, {"a": None}, []),
        (
            {"a": {"type": "array", "items": {"type": "object", "properties": {"n": text()}}}},
            {"a": [{"m": 1}]},
            {"a": [{}]},
            ["spec.a[0].m"],
        ),
        (
            {"a": {"type": "object", "additionalProperties": {"type": "object", "properties": {"n": text()}}}},
            {"a": {"k": {"n": "1", "m": 2}}},
            {"a": {"k": {"n": "1"}}},
            ["spec.a.k.m"],
        ),
        (
            {"a": {"type": "object", **PRESERVE, "properties": {"n": {"type": "object", "properties": {"o": text()}}}}},
            {"a": {"free": {"x": [1]}, "n": {"p": 1}}},
            {"a": {"free": {"x": [1]}, "n": {}}},
            ["spec.a.n.p"],
        ),
        ({"a": {"type": "object"}}, {"a": {"n": 1}}, {"a": {}}, ["spec.a.n"]),
        (
            {"a": {"type": "object", "x-kubernetes-embedded-resource": True, **PRESERVE}},
            {"a": {"metadata": {"name": "n", "odd": 1}, "spec": {"x": 1}}},
            {"a": {"metadata": {"name": "n"}, "spec": {"x": 1}}},
            ["spec.a.metadata.odd"],
        ),
    ],
)
def test_what_is_unknown_is_dropped_and_named(properties: Any, spec: Any, left: Any, unknown: list[str]) -> None:
    assert pruned(of(**properties), spec) == (left, unknown)


@pytest.mark.parametrize(
    ("properties", "spec", "filled"),
    [
        ({"a": text(default="x")}, {}, {"a": "x"}),
        ({"a": text(default="x")}, {"a": None}, {"a": "x"}),
        ({"a": text(default="x", nullable=True)}, {"a": None}, {"a": None}),
        ({"a": {"type": "object", "properties": {"b": text(default="x")}}}, {}, {}),
        ({"a": {"type": "object", "default": {}, "properties": {"b": text(default="x")}}}, {}, {"a": {"b": "x"}}),
        (
            {"a": {"type": "array", "items": {"type": "object", "properties": {"b": text(default="x")}}}},
            {"a": [{}]},
            {"a": [{"b": "x"}]},
        ),
        ({"a": {"type": "object", "additionalProperties": text(default="x")}}, {"a": {"k": None}}, {"a": {"k": "x"}}),
    ],
)
def test_defaults(properties: Any, spec: Any, filled: Any) -> None:
    tree = {"spec": spec}
    fill_in(of(**properties), tree)
    assert tree["spec"] == filled


def test_a_default_is_not_shared_between_objects() -> None:
    schema = of(a={"type": "array", "items": text(), "default": ["x"]})
    one: dict[str, Any] = {"spec": {}}
    other: dict[str, Any] = {"spec": {}}
    fill_in(schema, one)
    one["spec"]["a"].append("y")
    fill_in(schema, other)
    assert other["spec"]["a"] == ["x"]


LISTED = {"type": "array", "items": text()}
KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["n"],
    "items": {"type": "object", "required": ["n"], "properties": {"n": text()}},
}
IN = " in body"


@pytest.mark.parametrize(
    ("rule", "value", "causes"),
    [
        (text(), "x", []),
        (text(), 5, [("spec.a", f'Invalid value: "integer": spec.a{IN} must be of type string: "integer"')]),
        (text(), None, [("spec.a", f'Invalid value: "null": spec.a{IN} must be of type string: "null"')]),
        (text(pattern="^a+$"), "b", [("spec.a", f"Invalid value: \"b\": spec.a{IN} should match '^a+$'")]),
        (text(enum=["x", "y"]), "z", [("spec.a", 'Unsupported value: "z": supported values: "x", "y"')]),
        (text(maxLength=2), "xyz", [("spec.a", "Too long: may not be more than 2 bytes")]),
        (text(minLength=2), "x", [("spec.a", f'Invalid value: "x": spec.a{IN} should be at least 2 chars long')]),
        (text(format="date-time"), "x", [("spec.a", f'Invalid value: "x": spec.a{IN} must be of type date-time: "x"')]),
        (text(format="no-such"), "x", []),
        (
            {"type": "integer", "minimum": 1},
            0,
            [("spec.a", f"Invalid value: 0: spec.a{IN} should be greater than or equal to 1")],
        ),
        (
            {"type": "integer", "maximum": 9, "exclusiveMaximum": True},
            9,
            [("spec.a", f"Invalid value: 9: spec.a{IN} should be less than 9")],
        ),
        ({"type": "number", "multipleOf": 0.1}, 0.3, []),
        (
            {"type": "integer", "multipleOf": 5},
            7,
            [("spec.a", f"Invalid value: 7: spec.a{IN} should be a multiple of 5")],
        ),
        ({"type": "integer"}, 1.0, []),
        (
            {"type": "integer"},
            True,
            [("spec.a", f'Invalid value: "boolean": spec.a{IN} must be of type integer: "boolean"')],
        ),
        ({"x-kubernetes-int-or-string": True}, "50%", []),
        (
            {"x-kubernetes-int-or-string": True},
            1.5,
            [("spec.a", f'Invalid value: "number": spec.a{IN} must be of type integer,string: "number"')],
        ),
        ({**LISTED, "maxItems": 1}, ["a", "b"], [("spec.a", "Too many: 2: must have at most 1 items")]),
        (
            LISTED,
            ["a", 1],
            [("spec.a[1]", f'Invalid value: "integer": spec.a[1]{IN} must be of type string: "integer"')],
        ),
        ({**LISTED, "x-kubernetes-list-type": "set"}, ["a", "b", "a"], [("spec.a[2]", 'Duplicate value: "a"')]),
        (KEYED, [{"n": "a"}, {"n": "a"}], [("spec.a[1]", 'Duplicate value: {"n":"a"}')]),
        (KEYED, [{}], [("spec.a[0].n", "Required value")]),
        (
            {"type": "object", "additionalProperties": text()},
            {"k": 1},
            [("spec.a.k", f'Invalid value: "integer": spec.a.k{IN} must be of type string: "integer"')],
        ),
        (text(anyOf=[{"pattern": "a"}, {"pattern": "b"}]), "b", []),
        (
            text(oneOf=[{"pattern": "a"}, {"pattern": "b"}]),
            "ab",
            [
                (
                    "<nil>",
                    'Invalid value: "": "spec.a" must validate one and only one schema (oneOf).'
                    " Found 2 valid alternatives",
                )
            ],
        ),
        (
            text(**{"not": {"enum": ["x"]}}),
            "x",
            [("<nil>", 'Invalid value: "": "spec.a" must not validate the schema (not)')],
        ),
        ({"type": "object", **PRESERVE, "anyOf": [{"required": ["x"]}, {"required": ["y"]}]}, {"y": 1}, []),
        (
            {"type": "object", **PRESERVE, "anyOf": [{"required": ["x"]}]},
            {},
            [
                ("spec.a.x", "Required value"),
                ("<nil>", 'Invalid value: "": "spec.a" must validate at least one schema (anyOf)'),
            ],
        ),
    ],
)
def test_what_is_wrong_is_said_in_upstreams_words(rule: Any, value: Any, causes: list[tuple[str, str]]) -> None:
    found = validate(of(a=rule), {"spec": {"a": value}})
    assert [(cause.field, cause.message) for cause in found] == causes


def test_a_long_list_of_errors_ends() -> None:
    assert len(validate(of(a=LISTED), {"spec": {"a": [1] * 5000}})) == 100


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|aa)+$", "(.*.*)*x"])
def test_a_pattern_takes_time_linear_in_the_text(pattern: str) -> None:
    # Python's own engine would take longer than the universe is old.
    found_in(pattern, "a" * 200_000 + "!")


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "(?=a)",
        "((a{100}){100}){100}",
        "x" * 20_000,
        "(" + "|".join(f"{letter}{{900}}" for letter in ascii_lowercase) + ")",
    ],
)
def test_a_pattern_that_is_not_re2_or_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        check_pattern(pattern)


def test_patterns_that_would_take_too_long_are_not_tried_and_never_pass() -> None:
    schema = of(a={"type": "array", "items": text(pattern="(a|b)*a(a|b){900}$")})
    *_, cause = validate(schema, {"spec": {"a": ["ab" * 20_000] * 20}})
    assert "takes too long" in cause.message


def test_a_schema_is_only_so_deep() -> None:
    schema: dict[str, Any] = text()
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(TooDeep):
        Structural(schema)


def test_lists_are_owned_as_their_type_says() -> None:
    schema = of(keyed=KEYED, atomic=LISTED, free={"type": "object", **PRESERVE})
    node = apply_node(schema, root=True)
    tree = {"spec": {"keyed": [{"n": "a"}], "atomic": ["x"], "free": {"m": {"n": 1}, "l": [1]}}}
    assert field_set(node, tree) == {
        "f:spec": {
            "f:keyed": {'k:{"n":"a"}': {".": {}, "f:n": {}}},
            "f:atomic": {},
            "f:free": {"f:m": {"f:n": {}}, "f:l": {}},
        }
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abnm"), inner, max_size=3),
    max_leaves=12,
)
SCHEMA = of(
    a={"type": "object", "default": {}, "properties": {"n": text(default="x"), "b": {"type": "integer"}}},
    b={"type": "array", "items": {"type": "object", "properties": {"a": text(nullable=True)}}},
    n={"type": "object", "additionalProperties": text(default="y")},
)


@given(JSON)
def test_shaping_and_filling_in_twice_is_doing_it_once(spec: Any) -> None:
    tree = {"metadata": {"name": "a"}, "spec": spec}
    fill_in(SCHEMA, shape(SCHEMA, tree).tree)
    again = copy.deepcopy(tree)
    found = shape(SCHEMA, again)
    assert found.unknown == ()
    fill_in(SCHEMA, again)
    assert again == tree
