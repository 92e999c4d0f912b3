import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.errors import BadRequest, Invalid
from pilothouse.machinery.patch.json_patch import json_patch
from pilothouse.machinery.patch.merge_patch import merge_patch
from pilothouse.machinery.patch.strategic import strategic_merge_patch
from pilothouse.machinery.schema import schema_for

from .trees import deployment

DEPLOYMENT = schema_for("apps", "v1", "Deployment")


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_follows_the_examples_of_rfc_7386(target, patch, expected):
    assert merge_patch(target, patch) == expected


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([{"op": "add", "path": "/l/1", "value": "x"}], {"l": ["a", "x", "b"], "m": {"k/y": 1}}),
        ([{"op": "add", "path": "/l/-", "value": "x"}], {"l": ["a", "b", "x"], "m": {"k/y": 1}}),
        ([{"op": "remove", "path": "/m/k~1y"}], {"l": ["a", "b"], "m": {}}),
        ([{"op": "replace", "path": "/l/0", "value": 1}], {"l": [1, "b"], "m": {"k/y": 1}}),
        ([{"op": "move", "from": "/l/0", "path": "/l/1"}], {"l": ["b", "a"], "m": {"k/y": 1}}),
        ([{"op": "copy", "from": "/m", "path": "/l/0"}], {"l": [{"k/y": 1}, "a", "b"], "m": {"k/y": 1}}),
        ([{"op": "test", "path": "/m/k~1y", "value": 1}], {"l": ["a", "b"], "m": {"k/y": 1}}),
        ([{"op": "replace", "path": "", "value": {}}], {}),
    ],
)
def test_json_patch(patch, expected):
    target = {"l": ["a", "b"], "m": {"k/y": 1}}
    before = copy.deepcopy(target)
    assert json_patch(target, patch) == expected
    assert target == before


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        ({}, BadRequest),
        ([{"op": "mend", "path": "/a"}], BadRequest),
        ([{"op": "add", "path": "/a"}], BadRequest),
        ([{"op": "add", "path": "a", "value": 1}], BadRequest),
        ([{"op": "remove", "path": "/none"}], Invalid),
        ([{"op": "replace", "path": "/l/2", "value": 1}], Invalid),
        ([{"op": "add", "path": "/l/01", "value": 1}], Invalid),
        ([{"op": "add", "path": "/l/0/x", "value": 1}], Invalid),
        ([{"op": "test", "path": "/l", "value": []}], Invalid),
        ([{"op": "test", "path": "/n", "value": True}], Invalid),
        ([{"op": "remove", "path": ""}], Invalid),
        ([{"op": "move", "from": "/l", "path": "/l/0"}], Invalid),
    ],
)
def test_json_patches_that_are_refused(patch, error):
    with pytest.raises(error):
        json_patch({"l": ["a"], "n": 1}, patch)


def template(tree):
    return tree["spec"]["template"]["spec"]


def test_strategic_merge_merges_lists_by_key():
    live = deployment()
    template(live)["containers"].append({"name": "side", "image": "side:1"})
    patched = strategic_merge_patch(
        live,
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}, {"name": "new"}]}}}},
        DEPLOYMENT,
    )
    assert template(patched)["containers"] == [
        {"name": "web", "image": "web:2"},
        {"name": "new"},
        {"name": "side", "image": "side:1"},
    ]
    assert template(live)["containers"][0]["image"] == "web:1"


def test_strategic_merge_directives():
    live = deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    live["metadata"]["finalizers"] = ["a", "b"]
    template(live)["containers"] += [{"name": "side"}, {"name": "third"}]
    patched = strategic_merge_patch(
        live,
        {
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"]},
            "spec": {
                "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
                "selector": {"$patch": "replace", "matchLabels": {"x": "y"}},
                "template": {
                    "spec": {
                        "$setElementOrder/containers": [{"name": "new"}, {"name": "third"}, {"name": "web"}],
                        "containers": [{"name": "side", "$patch": "delete"}, {"name": "new"}],
                    }
                },
            },
        },
        DEPLOYMENT,
    )
    assert patched["metadata"]["finalizers"] == ["c", "b"]
    assert patched["spec"]["strategy"] == {"type": "Recreate"}
    assert patched["spec"]["selector"] == {"matchLabels": {"x": "y"}}
    assert [container["name"] for container in template(patched)["containers"]] == ["new", "third", "web"]


def test_strategic_merge_replaces_lists_without_keys_and_whole_lists_on_demand():
    live = deployment()
    template(live)["containers"][0]["command"] = ["a", "b"]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "command": ["c"]}]}}}}
    assert template(strategic_merge_patch(live, patch, DEPLOYMENT))["containers"][0]["command"] == ["c"]
    patch = {"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "only"}]}}}}
    assert template(strategic_merge_patch(live, patch, DEPLOYMENT))["containers"] == [{"name": "only"}]


@pytest.mark.parametrize(
    "spec",
    [
        {"$patch": "mend"},
        {"strategy": {"$retainKeys": [], "type": "Recreate"}},
        {"template": {"spec": {"containers": [{"image": "x"}]}}},
        {"$mend": 1},
    ],
)
def test_strategic_patches_that_are_refused(spec):
    with pytest.raises(BadRequest):
        strategic_merge_patch(deployment(), {"spec": spec}, DEPLOYMENT)


trees = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), trees)


@given(objects, objects)
def test_patches_are_idempotent(target, patch):
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_element_order_keeps_every_entry(live_names, order):
    live = deployment()
    template(live)["containers"] = [{"name": name} for name in live_names]
    patch = {"$setElementOrder/containers": [{"name": name} for name in order]}
    patched = strategic_merge_patch(live, {"spec": {"template": {"spec": patch}}}, DEPLOYMENT)
    names = [container["name"] for container in template(patched)["containers"]]
    assert sorted(names) == sorted(live_names)
    assert [name for name in names if name in order] == [name for name in order if name in live_names]


@pytest.mark.parametrize(
    ("before", "named", "after"),
    [
        ("abc", "b", "abc"),
        ("abc", "cb", "acb"),
        ("abc", "n", "nabc"),
        ("abc", "bn", "abnc"),
        ("abc", "nc", "nabc"),
        ("", "ab", "ab"),
    ],
)
def test_strategic_merge_puts_what_is_new_where_upstream_does(before: str, named: str, after: str) -> None:
    live = {"metadata": {"finalizers": list(before)}, "spec": {"template": {"spec": {}}}}
    template(live)["containers"] = [{"name": name} for name in before]
    change = {"metadata": {"finalizers": list(named)}, "spec": {"template": {"spec": {}}}}
    template(change)["containers"] = [{"name": name} for name in named]
    patched = strategic_merge_patch(live, change, DEPLOYMENT)
    assert "".join(patched["metadata"]["finalizers"]) == after
    assert "".join(container["name"] for container in template(patched)["containers"]) == after
