"""Estimated costs, held to the figures that upstream's tests of its estimator expect (apiextensions, schema/cel)."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.machinery.objects import Obj
from pilothouse.policy.cel.environment import Environment
from pilothouse.policy.cel.estimate import estimate
from pilothouse.policy.cel.schema import declare
from pilothouse.policy.cel.sizes import shape_of

INFINITE = 1 << 63


def text(most: int | None = None, **more: Any) -> Obj:
    return {"type": "string", **({} if most is None else {"maxLength": most}), **more}


def array(items: Obj, most: int | None = None) -> Obj:
    return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}


def mapping(values: Obj, most: int | None = None) -> Obj:
    return {"type": "object", "additionalProperties": values, **({} if most is None else {"maxProperties": most})}


def fields(**properties: Obj) -> Obj:
    return {"type": "object", "properties": properties}


NUMBER, BOOL, EITHER = {"type": "number"}, {"type": "boolean"}, {"x-kubernetes-int-or-string": True}
DATE, MOMENT, LENGTH = text(format="date"), text(format="date-time"), text(format="duration")
REPLACE = "self.str.replace(self.before, self.after) == 'does not matter'"
SPLIT = "self.str.split(self.separator) == []"


def cost(schema: Obj, rule: str) -> int:
    declared = declare(schema)
    environment = Environment({"self": declared.type, "oldSelf": declared.type}, declared.messages)
    return estimate(environment.check(rule), shape_of(schema))


@pytest.mark.parametrize(
    ("schema", "rule", "wanted"),
    [
        (mapping(BOOL), "self.all(x, true)", 943718),
        (mapping(BOOL, 100), "self.all(x, true)", 302),
        (array(fields()), "self[0] == null", 2),
        (text(), "self.contains('test')", 314574),
        (text(10), "self.contains('test')", 5),
        (text(), "self.startsWith('test')", 2),
        (text(), 'size(self + "hello") > size("hello")', 314578),
        (text(4), 'size(self + "hello") > size("hello")', 7),
        (array(NUMBER), "self[1] == 0.0", 2),
        (array(text()), "self[1] == self[1]", 314577),
        (array(NUMBER, 10), "self.all(x, self.all(y, true))", 352),
        (array(NUMBER, 10), "self.all(x, self.all(y, self.all(z, true)))", 3552),
        (text(), 'self.matches("x")', 314574),
        (text(50), 'self.matches("x")', 22),
        (text(), '"".matches("(((((((((())))))))))[0-9]")', 7),
        (text(), 'self.matches("")', 1),
        (text(), 'self == "x"', 2),
        (text(0), 'self == "x"', 1),
        (text(format="byte"), 'self == b"x"', 2),
        (text(0, format="byte"), 'self == b"x"', 1),
        (array(NUMBER), "self.all(x, x == 0.0)", 6291454),
        (array(NUMBER, 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25165826),
        (array(EITHER), "self.all(x, true)", 4718591),
        (array(EITHER), "self[0] == 5", 3),
        (array(array(NUMBER)), "self[0][0] == -1.0", 3),
        (array(mapping(NUMBER)), "self.all(x, x.y == 25.2)", 6291452),
        (array(mapping(NUMBER, 12), 12), "self.all(x, x.y == 25.2)", 74),
        (array(mapping(NUMBER)), "self[0].x > 2.0", 4),
        (array(LENGTH), "self.all(x, true)", 2359295),
        (array(LENGTH), "self[0].getHours() == 2", 4),
        (array(DATE), "self.all(x, true)", 725936),
        (array(MOMENT), "self.all(x, true)", 428963),
        (mapping(EITHER), "self.all(x, true)", 1348169),
        (mapping(mapping(NUMBER)), "self.all(x, true)", 1179647),
        (mapping(LENGTH), "self.all(x, true)", 1048577),
        (mapping(DATE), "self.all(x, true)", 524288),
        (mapping(MOMENT), "self.all(x, true)", 349526),
        (text(), "self.find('[0-9]+') == ''", 629147),
        (text(10), "self.find('[0-9]+') == ''", 11),
        (array(text()), "self.join(' ') == 'aa bb'", 329853068905),
        (array(text(10), 10), "self.join(' ') == 'aa bb'", 43),
        (array(text()), "self.isSorted() == true", 329854432052),
        (array(text(10), 10), "self.isSorted() == true", 52),
        (fields(str=text(), before=text(2), after=text(4)), REPLACE, 629154),
        (fields(str=text(4), before=text(2), after=text(4)), REPLACE, 12),
        (fields(str=text(), separator=text()), SPLIT, 629160),
        (fields(str=text(10), separator=text(10)), SPLIT, 22),
        (text(), "self.lowerAscii() == 'lower!'", 314575),
        (text(10), "self.lowerAscii() == 'lower!'", 6),
        (mapping({"type": "integer"}), "oldSelf.size() == self.size()", 5),
        (mapping(MOMENT), 'self["a"] == self["b"]', 8),
        (text(20), "quantity(self).isLessThan(quantity('1Gi'))", 11),
        (text(enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 2),
        (text(1000), "self.contains('A')", 401),
    ],
)
def test_estimates_are_upstreams(schema: Obj, rule: str, wanted: int) -> None:
    assert cost(schema, rule) == wanted


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        (array(NUMBER), "self.all(x, self.all(y, true))"),
        (array(text()), "self.all(x, self.exists_one(y, x == y))"),
        (text(), "'size: ' + string(self.size()) == 'x'"),
    ],
)
def test_what_has_no_bounds_is_dear(schema: Obj, rule: str) -> None:
    assert cost(schema, rule) > 10_000_000


def test_lists_that_functions_make_have_sizes() -> None:
    few = array(text(10), 10)
    assert cost(few, "self.slice(0, 3).all(x, x == 'a')") < cost(few, "self.reverse().all(x, x == 'a')") < 200
    assert 200 < cost(few, "self.distinct().size() == self.sort().size()") < 1000
    assert cost(few, "lists.range(5).all(x, x > 1)") < 100


def test_sizes_of_what_an_expression_makes_are_known() -> None:
    assert cost(array(text(10), 10), "self.map(x, x + 'a').all(y, y.contains('a'))") < 1000
    assert cost(text(100), "self.split('.').map(x, x + 'a').all(y, y == 'b')") < 50_000
    assert cost(text(10), "['a', 'bb'].exists(x, x.matches(self))") < INFINITE
