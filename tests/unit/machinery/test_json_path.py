"""The JSONPath of printer columns."""

import pytest

from pilothouse.machinery.json_path import InvalidPath, find, parse_path, simple_path

TREE = {
    "metadata": {"labels": {"a.b/c": "1", "x-y": 2}},
    "spec": {"a-b": 1, "list": [{"n": 1, "ok": True}, {"n": 5}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Done", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a-b", [1]),
        ("{.spec.a-b}", [1]),
        ("$.spec['a-b']", [1]),
        (r".metadata.labels.a\.b/c", ["1"]),
        (".metadata.labels['a.b/c']", ["1"]),
        (".metadata.labels['a.b/c','x-y']", ["1", 2]),
        (".spec.list[0].n", [1]),
        (".spec.list[-1].n", [5]),
        (".spec.list[7].n", []),
        (".spec.list[*].n", [1, 5]),
        (".spec.list[0:1].n", [1]),
        ("..n", [1, 5]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type != 'Ready')].status", ["False"]),
        (".spec.list[?(@.n > 4)].n", [5]),
        (".spec.list[?(@.ok)].n", [1]),
        (".spec.list[?(@.n > 'x')].n", []),
        (".nothing.here", []),
        (".spec.a-b.deeper", []),
    ],
)
def test_a_path_leads_to(path: str, found: list[object]) -> None:
    assert find(path, TREE) == found


@pytest.mark.parametrize("path", [".spec[", ".a(b)", ".a[?(@.x ~ 2)]", ".a[b]", ".a[0:2:0]", ".a[?(@.x == y)]"])
def test_what_is_no_path_is_told(path: str) -> None:
    with pytest.raises(InvalidPath):
        parse_path(path)


def test_a_path_cannot_take_long_to_be_refused() -> None:
    with pytest.raises(InvalidPath):
        parse_path("[" + "'a'   " * 20_000)
    with pytest.raises(InvalidPath):
        parse_path("[?(" + "@" * 20_000 + "(")


def test_results_are_bounded() -> None:
    wide = {"a": [{"b": list(range(100))}] * 1000}
    assert len(find("..*", wide)) == 1000


@pytest.mark.parametrize(
    ("path", "names"), [(".spec.replicas", ["spec", "replicas"]), (".a[0]", None), ("a.b", None), (".", None)]
)
def test_simple_paths(path: str, names: list[str] | None) -> None:
    assert simple_path(path) == names
