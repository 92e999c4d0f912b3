"""What expressions give: CEL's own functions and Kubernetes' libraries."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.policy import cel

OBJECT = {
    "spec": {"replicas": 3, "paused": False, "ratio": 0.5, "image": "a/b:1", "nothing": None, "foo-bar": "x"},
    "list": [1, 2, 3],
    "words": ["b", "a"],
    "map": {"k": "v"},
}


def evaluate(expression: str, budget: cel.Budget | None = None) -> Any:
    program = cel.compile(expression, {"object": cel.types.DYN})
    return program.evaluate({"object": OBJECT}, budget or cel.Budget())


@pytest.mark.parametrize(
    "expression",
    [
        "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1",
        "dyn(1) == 1.0 && 1 < 2.5 && uint(3) > 2 && !(1 == dyn('1'))",
        "dyn(true) != dyn(1) && {true: 'yes'}[true] == 'yes' && !(dyn(1) in {true: 'yes'})",
        "object.spec.replicas <= 5 && object['spec']['image'] == 'a/b:1'",
        "has(object.spec.paused) && !has(object.spec.nope) && has(object.spec.nothing)",
        "object.spec.foo__dash__bar == 'x'",
        "object.list.all(x, x > 0) && object.list.exists(x, x == 2) && object.list.exists_one(x, x == 3)",
        "object.list.filter(x, x > 1) == [2, 3] && object.list.map(x, x > 1, x * 2) == [4, 6]",
        "object.list.all(i, v, v == i + 1) && object.list.transformList(i, v, i * v) == [0, 2, 6]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && {'a': 1}.transformMapEntry(k, v, {v: k}) == {1: 'a'}",
        "1 / 0 == 1 || true",
        "!(1 / 0 == 1 && false)",
        "object.list.exists(x, x / 0 == 1 || x == 2)",
        "object.?spec.?nope.orValue('none') == 'none' && object.?spec.replicas.hasValue()",
        "[?object.?nope, 1].size() == 1 && {?'a': object.?nope} == {} && object.list[?9] == optional.none()",
        "optional.of(1).optMap(x, x + 1).value() == 2 && optional.ofNonZeroValue('') == optional.none()",
        "type(1) == int && type('') == string && type(quantity('1')) == kubernetes.Quantity",
        "int('12') == 12 && double('1.5') == 1.5 && string(1.5) == '1.5' && bytes('a') == b'a' && bool('true')",
        "timestamp('2024-02-29T12:30:00+01:00').getHours() == 11",
        "timestamp('2024-02-29T12:30:00Z').getHours('Europe/Berlin') == 13",
        "timestamp('2024-02-29T00:00:00Z') + duration('24h') == timestamp('2024-03-01T00:00:00Z')",
        "duration('1h30m').getMinutes() == 90 && string(duration('1.5s')) == '1.5s' && duration('-1m') < duration('0')",
        "'tacocat'.charAt(3) == 'o' && 'hello'.indexOf('l', 3) == 3 && 'hello'.lastIndexOf('l') == 3",
        "'a,b,c'.split(',', 2) == ['a', 'b,c'] && ['a', 'b'].join('-') == 'a-b' && 'x'.upperAscii() == 'X'",
        "'hello'.replace('l', 'L', 1) == 'heLlo' && ' a '.trim() == 'a' && 'hello'.substring(1, 3) == 'el'",
        "'%s is %d, %.2f, %x'.format([dyn('it'), 3, 1.005, 255]) == 'it is 3, 1.00, ff'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'abc123'.matches('^[a-z]+[0-9]+$') && 'a1b22'.find('[0-9]+') == '1'",
        "'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'a1b22'.findAll('[0-9]+', 1) == ['1']",
        "object.list.sum() == 6 && object.words.min() == 'a' && object.list.isSorted() && !object.words.isSorted()",
        "object.list.indexOf(2) == 1 && [1, 1].lastIndexOf(1) == 1 && [[1], [2]].flatten() == [1, 2]",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1]) && sets.intersects([1], [1, 2])",
        "quantity('1.5Gi').isGreaterThan(quantity('1Gi')) && quantity('50k').asInteger() == 50000",
        "quantity('1').add(quantity('500m')) == quantity('1500m') && isQuantity('1Ki') && !isQuantity('x')",
        "url('https://u@[::1]:80/a?b=c&b=d').getQuery() == {'b': ['c', 'd']} && !isURL('::')",
        "url('https://example.com:80/a').getHost() == 'example.com:80' && isURL('/path')",
        "url('mailto:a@example.com').getScheme() == 'mailto' && url('//a/b?c').getEscapedPath() == '//a/b'",
        "!quantity('9999999999999999999999G').isInteger()",
        "quantity('50k').add(20).sub(quantity('1')).asInteger() == 50019",
        "ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && !isIP('::ffff:1.2.3.4') && ip.isCanonical('::1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && !isCIDR('10.0.0.0/33')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "isSemver('v1.0', true) && !isSemver('v1.0') && semver('v01.2', true).compareTo(semver('1.2.0')) == 0",
        "format.dns1123Label().validate('Upper').hasValue() && format.named('uuid').hasValue()",
        "!format.labelValue().validate('fine').hasValue() && !format.named('nope').hasValue()",
    ],
)
def test_holds(expression: str) -> None:
    assert evaluate(expression) is True


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("object.spec.nope", "no such key: nope"),
        ("object.list[3]", "index out of bounds: 3"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("uint(0) - uint(1)", "unsigned integer overflow"),
        ("object.spec.image + 1", "no such overload"),
        ("object.spec.image > 1", "no such overload"),
        ("object.spec.image ? 1 : 2", "no such overload"),
        ("object.spec.replicas.size()", "no such overload"),
        ("optional.none().value()", "optional.none() dereference"),
        ("{'a': 1, 'a': 2}", "Failed with repeated key"),
        ("int(object.spec.image)", "type conversion error from 'string' to 'int': a/b:1"),
        ("object.words.sum()", "no such overload"),
        ("[1].slice(0, 2)", "cannot slice(0, 2), list is length 1"),
        ("object.spec.image.matches('(' + object.spec.foo__dash__bar)", "error parsing regexp: missing ): (x: `(x`"),
        ("semver('v1.0')", "No Major.Minor.Patch elements found"),
        ("quantity('10Mm')", "unable to parse quantity's suffix"),
        ("ip('999.0.0.1')", 'IP Address "999.0.0.1" parse error during conversion from string'),
        (
            "'%d'.format(['a'])",
            "error during formatting: decimal clause can only be used on integers, was given string",
        ),
    ],
)
def test_errors(expression: str, reason: str) -> None:
    with pytest.raises(cel.EvaluationError) as caught:
        evaluate(expression)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("expression", "report"),
    [
        ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting"),
        ("nope", "ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope\n | ^"),
        (
            "'a' + 1",
            "ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'\n | 'a' + 1\n | ....^",
        ),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^"),
        ("true &&\n duration('x') == duration('1s')", "ERROR: <input>:2:11: invalid duration argument"),
        ("(" * 500, "ERROR: <input>:1:1: Expression recursion limit exceeded"),
        ("'" + "a" * 200_000 + "'", "ERROR: <input>:1:1: expression size exceeds codepoint limit"),
        ("'\ud800'", "ERROR: <input>:1:1: not valid text"),
    ],
)
def test_compile_errors(expression: str, report: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        cel.compile(expression, {"object": cel.types.DYN})
    assert str(caught.value).startswith(report)
    assert caught.value.line >= 1


def test_results_are_checked() -> None:
    with pytest.raises(cel.CompileError, match="must evaluate to bool"):
        cel.compile("1", {}, results=(cel.types.BOOL,))
    assert cel.compile("object.x", {"object": cel.types.DYN}, results=(cel.types.BOOL,)).result == cel.types.DYN
