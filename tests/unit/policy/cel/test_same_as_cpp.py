"""Our evaluator gives what Google's gives, for whatever both know."""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel as cpp
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pilothouse.policy import cel

_ENV = cpp.NewEnv(variables=dict.fromkeys(("o", "a", "b"), cpp.Type.DYN), extensions=(ExtOptional(), ExtStrings()))
_VARIABLES = dict.fromkeys(("o", "a", "b"), cel.types.DYN)
_ERROR = object()

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.text("ab/:é", max_size=6)
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=6,
)

_ATOMS = ["o", "a", "b", "o.a", "o.b", "a[0]", "o['c']", "1", "0", "-2", "'a'", "''", "true", "null"]
_BINARY = ["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&&", "||", "in"]
_MACROS = ["all", "exists", "exists_one", "filter", "map"]
_METHODS = ["size()", "startsWith('a')", "contains('b')", "charAt(0)", "lowerAscii()", "split('/')", "trim()"]
"""What only Kubernetes has for some type, as `indexOf` of lists, is not among them."""


@st.composite
def _expressions(draw: st.DrawFn, depth: int = 3, *, inner: bool = False) -> str:
    """A random expression, all of whose parts are of type dyn, so that it compiles."""
    atoms = [*_ATOMS, *(["x", "x == a", "dyn(x) > dyn(1)", "x in b", "has(x.a)"] if inner else [])]
    shape = draw(st.integers(0, 9)) if depth else 0
    if shape == 0:
        return draw(st.sampled_from(atoms))

    def part(more: bool = False) -> str:
        return f"dyn({draw(_expressions(depth - 1, inner=inner or more))})"

    if shape == 1:
        return f"({part()} {draw(st.sampled_from(_BINARY))} {part()})"
    if shape == 2:
        return f"!{part()}"
    if shape == 3:
        return f"({part()} ? {part()} : {part()})"
    if shape in (4, 5):
        return f"{part()}.{draw(st.sampled_from(_MACROS))}(x, {part(True)})"
    if shape == 6:
        return f"{part()}.{draw(st.sampled_from(_METHODS))}"
    if shape == 7:
        return f"has({draw(st.sampled_from(['o', 'a', 'o.a']))}.{draw(st.sampled_from('abc'))})"
    if shape == 8:
        return f"o.?{draw(st.sampled_from('abc'))}.orValue({part()})"
    return draw(st.sampled_from([f"[{part()}, {part()}]", f"{{'k': {part()}}}"]))


def _by_cpp(expression: str, variables: dict[str, Any]) -> Any:
    result = _ENV.compile(expression).eval(_ENV.Activation(variables))
    if result.type() in (cpp.Type.ERROR, cpp.Type.UNKNOWN):
        # What can be no key of a map is in none, says Go's, which is upstream's; C++'s has no such overload.
        assume("No matching overloads found : @in" not in str(result.value()))
        return _ERROR
    return result.plain_value()


def _by_us(expression: str, variables: dict[str, Any]) -> Any:
    try:
        return cel.compile(expression, _VARIABLES).evaluate(variables, cel.Budget())
    except cel.EvaluationError:
        return _ERROR


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        # C++'s goes over the keys of a map in any order.
        in_order = len(left) == len(right) and all(map(_alike, left, right))
        return in_order or sorted(map(repr, left)) == sorted(map(repr, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_alike(left[key], right[key]) for key in left)
    return bool(left == right)


@settings(max_examples=300, deadline=None)
@given(_expressions(), _JSON, _JSON, _JSON)
@example("(dyn(o.a) && dyn(false))", {}, 1, 1)
@example("dyn(a).exists(x, dyn(x) > dyn(1))", None, ["a", 2], 1)
def test_same_value_or_both_an_error(expression: str, o: Any, a: Any, b: Any) -> None:
    variables = {"o": o, "a": a, "b": b}
    ours, theirs = _by_us(expression, variables), _by_cpp(expression, variables)
    # What can be no key of a map is in none for Google's Go, which Kubernetes uses, and an error for its C++.
    assume(theirs is not _ERROR or " in " not in expression)
    assert _alike(ours, theirs), expression
