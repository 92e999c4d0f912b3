"""Costs are upstream's, and limits end what is too much.

The numbers are those that Kubernetes' own test of the stability of costs expects (`celcoststability_test.go`).
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from pilothouse.policy import cel
from pilothouse.policy.cel.errors import OutputTooLarge, TimeExceeded

_KNIGHT = "Rook takes 👑"
_LIST_MAP = [{"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"}]


@pytest.mark.parametrize(
    ("expression", "self_", "cost"),
    [
        ("self.val1 == self.val2", {"val1": 1, "val2": 1}, 5),
        ("type(self.val1) == int", {"val1": 1}, 4),
        ("self.val3 + 1 == 5 + 1", {"val3": 5}, 5),
        ("double(5) < 10.0", {}, 1),
        ("double(self.val1) < 10.0", {"val1": 5}, 4),
        ("self.val1.startsWith('Rook')", {"val1": _KNIGHT}, 4 - 1),
        ("self.val1.matches('^[^0-9]*$')", {"val1": _KNIGHT}, 8),
        ("size(self.val1) == 12", {"val1": _KNIGHT}, 4),
        ("self.val1.replace(' ', 'x') == 'Rookxtakesx👑'", {"val1": _KNIGHT}, 7),
        ("self.val1.split(' ') == ['Rook', 'takes', '👑']", {"val1": _KNIGHT}, 6),
        ("self.val1.substring(5) == 'takes 👑'", {"val1": _KNIGHT}, 5),
        ("self.val1.lowerAscii() == 'rook takes 👑'", {"val1": _KNIGHT}, 6),
        ("self.enumStr in ['Pending', 'Available']", {"enumStr": "Pending"}, 2),
        ("1 in self.val1", {"val1": [1, 2, 3]}, 5),
        ("self.val2[0] in self.val1", {"val1": [1, 2, 3], "val2": [1, 2, 3]}, 8),
        ("self.val1 + [4, 5] == [1, 2, 3, 4, 5]", {"val1": [1, 2, 3]}, 4),
        ("'k1' in self.val1", {"val1": {"k1": "a"}}, 3),
        ("ip('2001:db8:3333:4444:5555:6666:7777:8888').family() == 6", {}, 6),
        ("cidr('2001:db8::/32').containsCIDR('2001:db8::/126')", {}, 7),
        ("url('https:://kubernetes.io/').getPort() == ''", {}, 4),
        ("has(self.a.b)", {"a": {"b": 1}}, 2),
        ("!has(self.a1.d2)", {"a1": {}}, 3),
        ("self.val.all(k, self.val[k] > 0)", {"val": {"b": 1, "d": 2}}, 17),
        ("self.val.exists_one(k, self.val[k] == 2)", {"val": {"b": 1, "d": 2}}, 14),
        ("!self.val.exists_one(k, self.val[k] > 0)", {"val": {"b": 1, "d": 2}}, 17),
        ("size(self.val.filter(k, self.val[k] > 1)) == 1", {"val": {"b": 1, "d": 2}}, 26),
        ("self.listMap.all(m, m.k.startsWith('a'))", {"listMap": _LIST_MAP}, 21),
        ("self.listMap.all(m, !has(m.v2) || m.v2 == 'z')", {"listMap": _LIST_MAP}, 21),
        ("self.listMap.exists(m, m.k.endsWith('1'))", {"listMap": _LIST_MAP}, 13),
        ("self.listMap.exists_one(m, m.k == 'a3')", {"listMap": _LIST_MAP}, 15),
        ("!self.listMap.all(m, m.k.endsWith('1'))", {"listMap": _LIST_MAP}, 18),
        ("!self.listMap.exists(m, m.v == 'x')", {"listMap": _LIST_MAP}, 25),
        ("size(self.listMap.filter(m, m.k == 'a1')) == 1", {"listMap": _LIST_MAP}, 27),
        ("self.listMap.exists(m, m.k == 'a1' && m.v == 'b1')", {"listMap": _LIST_MAP}, 16),
        ("self.listMap.map(m, m.v).exists(v, v == 'b1')", {"listMap": _LIST_MAP}, 55),
        ("self.listMap.exists(m, has(m.v2) && m.v2 == 'z')", {"listMap": _LIST_MAP}, 21),
    ],
)
def test_upstreams_costs(expression: str, self_: Any, cost: int) -> None:
    budget = cel.Budget()
    assert cel.compile(expression, {"self": cel.types.DYN}).evaluate({"self": self_}, budget) is True
    assert budget.spent == cost


def _evaluate(expression: str, budget: cel.Budget, **variables: Any) -> Any:
    program = cel.compile(expression, dict.fromkeys(variables, cel.types.DYN))
    return program.evaluate(variables, budget)


_ENDLESS = "x.all(a, x.all(b, x.all(c, x.all(d, true))))"


def test_an_expression_ends_at_its_limit() -> None:
    budget = cel.Budget()
    with pytest.raises(cel.CostExceeded, match="operation cancelled: actual cost limit exceeded"):
        _evaluate(_ENDLESS, budget, x=list(range(200)))
    assert cel.PER_EXPRESSION < budget.spent < cel.PER_EXPRESSION * 1.01
    assert not budget.exhausted


def test_expressions_share_what_a_request_may_cost() -> None:
    budget = cel.Budget(limit=100)
    assert _evaluate("x.map(a, a)", budget, x=[1, 2, 3, 4]) == [1, 2, 3, 4]
    with pytest.raises(cel.CostExceeded):
        _evaluate("x.map(a, a)", budget, x=[1, 2, 3, 4])
    assert budget.exhausted


def test_a_limit_is_no_error_that_logic_could_outweigh() -> None:
    with pytest.raises(cel.CostExceeded):
        _evaluate(f"{_ENDLESS} || true", cel.Budget(limit=10_000), x=list(range(100)))


def test_an_expression_ends_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(TimeExceeded):
        _evaluate(_ENDLESS, cel.Budget(10**12, 10**12, seconds=0.05), x=list(range(3000)))
    assert time.monotonic() - started < 30


def test_deep_comparisons_count_towards_the_time() -> None:
    wide = [list(range(20_000))]
    with pytest.raises(TimeExceeded):
        _evaluate("x.all(a, x == y)", cel.Budget(10**12, 10**12, seconds=0.05), x=wide * 500, y=wide * 500)


@pytest.mark.parametrize(
    "expression",
    [
        "x.replace('', x)",
        "x.replace('a', x)",
        "[x, x, x, x, x].map(a, x).join(x.replace('a', 'aaaaaaaaaa')).replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
        "lists.range(999999999)",
        "'%.9999f'.format([1.0]).replace('0', x)",
    ],
)
def test_no_text_or_list_grows_without_end(expression: str) -> None:
    with pytest.raises((OutputTooLarge, cel.CostExceeded)):
        _evaluate(expression, cel.Budget(), x="a" * 100_000)


def test_a_pattern_that_backtracks_elsewhere_takes_linear_time() -> None:
    started = time.monotonic()
    assert _evaluate("x.matches('^(a+)+$')", cel.Budget(), x="a" * 5000 + "!") is False
    assert time.monotonic() - started < 30
