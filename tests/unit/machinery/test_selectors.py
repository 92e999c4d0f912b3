import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.kinds.view import LabelSelector, LabelSelectorRequirement
from pilothouse.machinery import selectors
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.selector_text import parse_field_selector, parse_label_selector
from pilothouse.machinery.selectors import from_label_selector


def test_every_operator():
    selector = parse_label_selector("a=b, c!=d ,e in (f,g),!h,i,j notin (k),n>1")
    good = {"a": "b", "e": "g", "i": "", "n": "2"}
    assert selector.matches(good)
    for change in ({"a": "x"}, {"c": "d"}, {"e": "x"}, {"h": ""}, {"j": "k"}, {"n": "1"}, {"n": "two"}):
        assert not selector.matches({**good, **change}), change
    assert not selector.matches(None)
    assert str(selector) == "a=b,c!=d,e in (f,g),!h,i,j!=k,n>1"


def test_empty_values_and_keys_named_like_operators():
    assert parse_label_selector("a=").matches({"a": ""})
    assert parse_label_selector("a=,b").matches({"a": "", "b": ""})
    assert parse_label_selector("in in (in)").matches({"in": "in"})
    assert parse_label_selector("a in (,b)").matches({"a": ""})
    assert parse_label_selector("").matches(None)
    assert parse_label_selector("").empty


_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_INTEGER = "for 'Gt', 'Lt' operators, the value must be an integer"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b,=", "found '=', expected: identifier after ','"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b=", "unable to parse requirement: found '=', expected: ',' or ')'"),
        ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("a in (=", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=!", "unable to parse requirement: found '!', expected: identifier"),
        ("a>b", f'unable to parse requirement: values[0]: Invalid value: "b": {_INTEGER}'),
        (
            "a>9223372036854775808",
            f'unable to parse requirement: values[0]: Invalid value: "9223372036854775808": {_INTEGER}',
        ),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("-a=b", f'unable to parse requirement: <nil>: Invalid value: "-a": {_KEY}'),
    ],
)
def test_what_cannot_be_parsed_is_told_as_upstream_tells_it(text, message):
    with pytest.raises(BadRequest) as caught:
        parse_label_selector(text)
    assert str(caught.value) == message


def test_several_faults_of_values():
    with pytest.raises(BadRequest) as caught:
        parse_label_selector("a in (-,_,b)")
    assert re.findall(r"values\[\d\]\[a\]: Invalid value: \"[-_]\": a valid label must", str(caught.value)) == [
        'values[0][a]: Invalid value: "-": a valid label must',
        'values[1][a]: Invalid value: "_": a valid label must',
    ]


def test_label_selector_objects_as_tree_and_as_view():
    tree = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]}
    view = LabelSelector(
        match_labels={"a": "b"},
        match_expressions=[LabelSelectorRequirement(key="c", operator="NotIn", values=["d"])],
    )
    assert from_label_selector(tree) == from_label_selector(view)
    assert from_label_selector(tree).matches({"a": "b"})
    assert not from_label_selector(tree).matches({"a": "b", "c": "d"})
    assert from_label_selector(None) is selectors.NOTHING
    assert not selectors.NOTHING.matches({"a": "b"})
    assert from_label_selector({}).matches({})
    with pytest.raises(ValueError, match="'Near'"):
        from_label_selector({"matchExpressions": [{"key": "c", "operator": "Near"}]})
    with pytest.raises(ValueError, match="can't be empty"):
        from_label_selector({"matchExpressions": [{"key": "c", "operator": "In"}]})


def test_field_selectors():
    selector = parse_field_selector(r"metadata.name=a\,b,status.phase!=Running")
    assert selector.exact("metadata.name") == "a,b"
    assert selector.matches({"metadata.name": "a,b"})
    assert not selector.matches({"metadata.name": "a,b", "status.phase": "Running"})
    assert parse_field_selector("spec.nodeName=").matches({})
    assert parse_field_selector("").matches({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("b=1,a", "invalid selector: 'b=1,a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=\b", r"invalid field selector: invalid escape sequence: \b"),
        ("a=\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_field_selectors_that_cannot_be_parsed(text, message):
    with pytest.raises(BadRequest) as caught:
        parse_field_selector(text)
    assert str(caught.value) == message


labels = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True), st.from_regex(r"[a-z0-9]{0,3}", fullmatch=True)
)


@given(labels, labels)
def test_a_selector_made_of_labels_selects_supersets(chosen, other):
    selector = selectors.from_labels(chosen)
    assert selector.matches({**other, **chosen})
    assert parse_label_selector(str(selector)) == selector
