"""Objects with a schema: names are checked, values become what the schema says."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.policy import cel
from pilothouse.policy.cel import schema

_PORT = {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}
_SPEC = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "foo-bar": {"type": "string"},
        "namespace": {"type": "string"},
        "fooBar": {"type": "string"},
        "foo_bar": {"type": "string"},
        "when": {"type": "string", "format": "date-time"},
        "data": {"type": "string", "format": "byte"},
        "ratio": {"type": "number"},
        "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": _PORT,
        },
        "limits": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "byName": {"type": "object", "additionalProperties": _PORT},
        "free": {"x-kubernetes-preserve-unknown-fields": True},
    },
}
_SCHEMA = {"type": "object", "properties": {"spec": _SPEC}}
_OBJECT = {
    "apiVersion": "v1",
    "metadata": {"name": "n"},
    "spec": {
        "replicas": 1,
        "foo-bar": "x",
        "namespace": "ns",
        "when": "2020-01-01T00:00:00Z",
        "data": "QUI=",
        "ratio": 1,
        "names": ["a", "b"],
        "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}],
        "limits": {"cpu": "1", "pods": 3},
        "grid": [[1, 2]],
        "byName": {"k": {"port": 1}},
    },
}
_DECLARED = schema.declare(_SCHEMA, resource=True)


def _compile(expression: str) -> cel.Program:
    return cel.compile(expression, {"self": _DECLARED.type}, (cel.types.BOOL,), _DECLARED.messages)


@pytest.mark.parametrize(
    "expression",
    [
        "self.metadata.name == 'n' && self.spec.replicas > 0",
        "self.spec.foo__dash__bar == 'x' && self.spec.__namespace__ == 'ns' && !has(self.spec.fooBar)",
        "self.spec.when < timestamp('2021-01-01T00:00:00Z') && self.spec.data == b'AB'",
        "type(self.spec.ratio) == double && self.spec.ratio == 1.0",
        "self.spec.names == ['b', 'a'] && self.spec.names + ['b', 'c'] == ['a', 'b', 'c']",
        "self.spec.ports == [self.spec.ports[1], self.spec.ports[0]]",
        "self.spec.ports.all(p, p.port > 0) && self.spec.byName['k'].port == 1 && self.spec.byName.k.port == 1",
        "self.spec.limits['cpu'] == '1' && self.spec.limits.pods == 3 && self.spec.grid[0][1] == 2",
        "self.spec.?fooBar.orValue('none') == 'none'",
    ],
)
def test_values_are_of_their_types(expression: str) -> None:
    assert _DECLARED.convert is not None
    assert _compile(expression).evaluate({"self": _DECLARED.convert(_OBJECT)}, cel.Budget()) is True


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("self.spec.nope == 1", "ERROR: <input>:1:10: undefined field 'nope'"),
        ("self.spec.ports.all(p, p.nope)", "undefined field 'nope'"),
        ("self.metadata.labels == {}", "undefined field 'labels'"),
        ("self.spec.free == 1", "undefined field 'free'"),
        ("self.spec.replicas == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.spec.ports[0] == 1", "applied to '(selfType.spec.ports.idx, int)'"),
    ],
)
def test_what_the_schema_does_not_have_does_not_compile(expression: str, reason: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        _compile(expression)
    assert reason in str(caught.value)


def test_a_text_that_is_not_of_its_format_stays_a_text() -> None:
    convert: Any = schema.declare({"type": "string", "format": "date-time"}).convert
    assert convert("yesterday") == "yesterday"


def test_what_needs_no_conversion_has_none() -> None:
    assert schema.declare({"type": "object", "properties": {"a": {"type": "string"}}}).convert is None
