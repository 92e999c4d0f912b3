"""Reading manifests: every problem has its place, and the rest is still read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.cli import manifests
from pilothouse.cli.manifests import in_order, read

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: one
spec:
  containers:
    - name: c
      image: x
      ports:
        - containerPort: 80
"""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_several_documents_and_empty_ones(tmp_path: Path) -> None:
    manifests, problems = read(write(tmp_path, "a.yaml", f"---\n{POD}---\n# nothing\n---\n{POD.replace('one', 'two')}"))
    assert not problems
    assert [manifest.name for manifest in manifests] == ["one", "two"]
    assert [manifest.line for manifest in manifests] == [2, 15]


def test_a_list_is_its_items(tmp_path: Path) -> None:
    items = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        f"- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: {name}}}\n" for name in "ab"
    )
    manifests, problems = read(write(tmp_path, "a.yaml", items))
    assert not problems
    assert [(manifest.name, manifest.line) for manifest in manifests] == [("a", 4), ("b", 7)]


def test_json_is_read(tmp_path: Path) -> None:
    manifests, problems = read(
        write(tmp_path, "a.json", '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "j"}}')
    )
    assert not problems
    assert manifests[0].title == "ConfigMap/j"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(POD))
    manifests, _ = read("-")
    assert [manifest.file for manifest in manifests] == ["<stdin>"]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: b: c\n", 1, 5, "mapping values are not allowed"),
        (POD + "  bad\n", 12, 1, "could not find expected ':'"),
        ("a: [1, 2\n", 2, 1, "expected ',' or ']'"),
        ("\tx: 1\n", 1, 1, "cannot start any token"),
        ("apiVersion: v1\nkind: Pod\nkind: Pod\n", 3, 1, "'kind' is written twice"),
        ("- 1\n- 2\n", 1, 0, "not an object but list"),
        ("kind: Pod\n", 1, 0, "lacks apiVersion, metadata.name"),
        ("kind: Pod\napiVersion: v1\nmetadata: {namespace: x}\n", 1, 0, "lacks metadata.name"),
    ],
)
def test_a_broken_document_is_told_with_its_place(
    tmp_path: Path, text: str, line: int, column: int, words: str
) -> None:
    _, problems = read(write(tmp_path, "a.yaml", text))
    assert len(problems) == 1
    assert (problems[0].line, problems[0].column) == (line, column)
    assert words in problems[0].message
    assert str(problems[0]).startswith(f"{tmp_path}/a.yaml:{line}:")


def test_the_rest_of_a_folder_is_read_though_one_file_is_broken(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "a: b: c\n")
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", "b.yml", POD)
    write(tmp_path, "c.txt", "not read")
    manifests, problems = read(str(tmp_path))
    assert [manifest.name for manifest in manifests] == ["one"]
    assert len(problems) == 1


@pytest.mark.parametrize("source", ["missing.yaml", "."])
def test_nothing_to_read_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    manifests, problems = read(source)
    assert not manifests
    assert len(problems) == 1


def test_timestamps_stay_text(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: t}\ndata: {when: 2026-01-01, at: 2026-01-01T10:00:00Z}\n"
    manifests, _ = read(write(tmp_path, "a.yaml", text))
    assert manifests[0].tree["data"] == {"when": "2026-01-01", "at": "2026-01-01T10:00:00Z"}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spec.containers[0].image", 8),
        ("spec.containers[0].ports[0].containerPort", 10),
        ("spec.containers[0].imagee", 7),
        ("spec.containers[5].image", 6),
        ("spec.nothing", 5),
        ("", 1),
    ],
)
def test_the_line_of_a_field_or_its_nearest_parent(tmp_path: Path, path: str, line: int) -> None:
    manifests, _ = read(write(tmp_path, "a.yaml", POD))
    assert manifests[0].line_of(path) == line


def test_what_others_need_comes_first(tmp_path: Path) -> None:
    kinds = ["Deployment", "Service", "ConfigMap", "Namespace", "ServiceAccount", "PersistentVolumeClaim", "Secret"]
    text = "---\n".join(f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n" for kind in kinds)
    manifests, _ = read(write(tmp_path, "a.yaml", text))
    assert [manifest.kind for manifest in in_order(manifests)] == [
        "Namespace",
        "ServiceAccount",
        "Secret",
        "ConfigMap",
        "PersistentVolumeClaim",
        "Service",
        "Deployment",
    ]


def test_the_line_of_a_path_is_its_nearest_parents_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POD)
    (found,), _ = read(str(tmp_path))
    paths = ("spec.containers[0].ports[0].containerPort", "spec.nope.containers[0].image", "spec.containers[9].image")
    lines = [found.line_of(path) for path in paths]

    (fresh,), _ = read(str(tmp_path))
    assert [fresh.line_of(path) for path in reversed(paths)] == lines[::-1]
    assert lines == [10, 5, 6]
    assert found.line_of("spec.containers[0].image") == 8


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8))
    | st.sampled_from(["yes", "Null", "0x1f", "017", "1_000", "1:30", "2026-11-01", "=", "~", "1e3", ".inf", "<<"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_the_quick_way_to_a_tree_gives_what_the_constructor_gives(value: object, flow: bool) -> None:
    text = yaml.safe_dump({"a": value}, default_flow_style=flow)
    node = yaml.compose(text, Loader=manifests._Loader)

    assert yaml.compose(text, Loader=yaml.CSafeLoader).tag == node.tag
    assert repr(manifests._construct(node)) == repr(manifests._Constructor().construct_document(node))


@pytest.mark.parametrize(
    "plain",
    [
        "yes",
        "Null",
        "0x1f",
        "0o17",
        "017",
        "1_000",
        "1:30",
        "2026-11-01",
        "~",
        "1e3",
        ".inf",
        "",
        "0",
        "00",
        "+1",
        "-0",
    ],
)
def test_plain_texts_are_what_yaml_says_they_are(plain: str) -> None:
    node = yaml.compose(f"a: {plain}\n", Loader=manifests._Loader)
    wanted = manifests._Constructor().construct_document(yaml.compose(f"a: {plain}\n", Loader=yaml.CSafeLoader))

    assert repr(manifests._construct(node)) == repr(wanted)
