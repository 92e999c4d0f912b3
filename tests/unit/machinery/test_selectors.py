import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.kinds.view import LabelSelector, LabelSelectorRequirement
from pilothouse.machinery import selectors
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.selectors import from_label_selector, parse_field_selector, parse_label_selector


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


@pytest.mark.parametrize("text", ["a=b,", ",", "a in b", "a in (b", "!", "=b", "a>b", "a b", "-a=b", "a=b c", "a=ä"])
def test_what_cannot_be_parsed(text):
    with pytest.raises(BadRequest, match="unable to parse requirement"):
        parse_label_selector(text)


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
    with pytest.raises(BadRequest, match="can't understand"):
        parse_field_selector("metadata.name")


labels = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True), st.from_regex(r"[a-z0-9]{0,3}", fullmatch=True)
)


@given(labels, labels)
def test_a_selector_made_of_labels_selects_supersets(chosen, other):
    selector = selectors.from_labels(chosen)
    assert selector.matches({**other, **chosen})
    assert parse_label_selector(str(selector)) == selector
