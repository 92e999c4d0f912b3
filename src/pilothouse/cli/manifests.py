"""Reading manifests: files, folders, standard input; YAML with several documents, JSON, Lists; with the place of each.

Nothing here talks to a server. Every problem is reported with file, line and column, and the rest is still read.
"""

from __future__ import annotations

import operator
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml

from pilothouse.cli.accept_comments import MARK, comments_of
from pilothouse.guard.finding import Comment
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import UnknownKind, schema_for
from pilothouse.machinery.yaml_bounds import check_suspect

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 32 << 20
"""A file larger than this is not read: no manifest is, and a parsed one takes many times its size."""

_MAX_RESUMED = 100
"""Times that reading goes on after a document that does not parse; each takes a pass over the rest."""

_Body = TypeVar("_Body", str, bytes)

_ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "ServiceAccount",
    "ClusterRole",
    "Role",
    "ClusterRoleBinding",
    "RoleBinding",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)}


@dataclass(frozen=True, slots=True)
class Problem:
    """What cannot be read, and where; `line` and `column` count from 1, 0 when unknown. `foreign`: it is no object of
    an API and was hardly meant to be one."""

    file: str
    message: str
    line: int = 0
    column: int = 0
    foreign: bool = False

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}" + (f":{self.column}" if self.column else "")
        return f"{place}: {self.message}"


Place: TypeAlias = "int | tuple[int, Lines]"
"""The line of something, with the lines of what is in it unless that is a plain value."""
Lines: TypeAlias = "dict[str, Place] | list[Place]"


@dataclass(slots=True)
class Manifest:
    """One object as written, with where it was written."""

    tree: Obj
    file: str
    line: int
    node: yaml.Node | None = field(default=None, repr=False)
    comments: tuple[Comment, ...] = ()
    """Those that accept findings."""
    _lines: Lines | None = field(default=None, repr=False, compare=False)

    @property
    def kind(self) -> str:
        return str(self.tree["kind"])

    @property
    def name(self) -> str:
        return str(self.tree["metadata"].get("name") or self.tree["metadata"].get("generateName", ""))

    @property
    def title(self) -> str:
        """`Kind/name`, with the namespace when it names one."""
        namespace = self.tree["metadata"].get("namespace")
        return f"{self.kind}/{self.name}" + (f" (namespace {namespace})" if namespace else "")

    def line_of(self, path: str) -> int:
        """The line of a field path such as `spec.containers[0].image` or `metadata.labels[example.com/a]`, or of its
        nearest parent."""
        if self._lines is None:
            self._lines = lines_of(self.node)
        line = self.line
        lines: Lines | None = self._lines
        for step in _steps(path):
            if isinstance(lines, dict):
                found = lines.get(step)
            elif isinstance(lines, list):
                found = lines[int(step)] if step.isdigit() and int(step) < len(lines) else None
            else:
                break
            if found is None:
                break
            line, lines = (found, None) if isinstance(found, int) else found
        return line

    def detached(self) -> Manifest:
        """The same without nodes, which are large; lines are still known."""
        lines = lines_of(self.node) if self._lines is None else self._lines
        return Manifest(self.tree, self.file, self.line, None, self.comments, lines)


def lines_of(node: yaml.Node | None) -> Lines:
    """The lines of all that is in a node; empty for one that has no parts. What an alias names is read once."""
    return _lines_of(node, {}) if node is not None else {}


def _lines_of(node: yaml.Node, known: dict[int, Lines]) -> Lines:
    found = known.get(id(node))
    if found is not None:
        return found
    lines: Lines
    if type(node) is yaml.MappingNode:
        lines = known[id(node)] = {}
        for key, value in node.value:
            if type(key) is yaml.ScalarNode:
                line = key.start_mark.line + 1
                lines[key.value] = line if type(value) is yaml.ScalarNode else (line, _lines_of(value, known))
        return lines
    lines = known[id(node)] = []
    if type(node) is yaml.SequenceNode:
        for entry in node.value:
            line = entry.start_mark.line + 1
            lines.append(line if type(entry) is yaml.ScalarNode else (line, _lines_of(entry, known)))
    return lines


@lru_cache(4096)
def _steps(path: str) -> list[str]:
    return [match[1] or match[2] for match in _STEP.finditer(path)]


def read(source: str) -> tuple[list[Manifest], list[Problem]]:
    """All objects of a file, of a folder (and those below it), or of standard input (`-`)."""
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for name, text in _texts(source, problems):
        read_text(name, text, manifests, problems)
    if not manifests and not problems:
        problems.append(Problem(source, f"no objects found (files ending in {', '.join(SUFFIXES)} are read)"))
    return manifests, problems


def in_order(manifests: list[Manifest]) -> list[Manifest]:
    """What others need first: namespaces, accounts and rights, configuration, services, then workloads."""
    return sorted(manifests, key=lambda manifest: _RANK.get(manifest.kind, len(_ORDER)))


def _texts(source: str, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    if source == "-":
        try:
            yield "<stdin>", bounded(sys.stdin.read(MAX_BYTES + 1))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem("<stdin>", f"cannot be read: {error}"))
        return
    path = Path(source)
    folder = path.is_dir()
    files = [path]
    if folder:
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        files = [file for file in found if file.is_file() or file.is_symlink()]
    root = real_path(path) if folder else path
    for file in files:
        if folder and not real_path(file).is_relative_to(root):
            problems.append(Problem(str(file), "is a link out of the folder and is not followed"))
            continue
        try:
            with file.open("rb") as opened:
                yield str(file), bounded(opened.read(MAX_BYTES + 1)).decode()
        except FileNotFoundError:
            problems.append(Problem(str(file), "no such file or folder"))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(str(file), f"cannot be read: {error}"))


def real_path(path: Path) -> Path:
    """Where a path leads, as far as its links can be followed; they may lead in a circle."""
    return Path(os.path.realpath(path))


def bounded(body: _Body) -> _Body:
    """A file's content. Raises OSError when it is longer than MAX_BYTES."""
    if len(body) > MAX_BYTES:
        raise OSError(f"it is larger than {MAX_BYTES >> 20} MiB")
    return body


def read_text(name: str, text: str, manifests: list[Manifest], problems: list[Problem]) -> None:
    """Adds the objects of a text, and what is wrong with it; `name` is the file's, for messages."""
    before = len(manifests)
    _read_all(name, text, manifests, problems)
    added = manifests[before:]
    if MARK in text and added:
        for number, comment in comments_of(text, [manifest.node for manifest in added]):
            added[number].comments = (*added[number].comments, comment)


def _read_all(name: str, text: str, manifests: list[Manifest], problems: list[Problem]) -> None:
    for _ in range(_MAX_RESUMED):
        text = _read_documents(name, text, manifests, problems)
        if not text:
            return
    problems.append(Problem(name, f"more than {_MAX_RESUMED} documents do not parse: the rest is not read"))


def _read_documents(name: str, text: str, manifests: list[Manifest], problems: list[Problem]) -> str:
    """Reads as far as the text parses; the rest, from the next document on, "" when nothing is left."""
    try:
        check_suspect(text)
        loader = _Loader(text)
    except yaml.YAMLError as error:
        problems.append(_problem(name, error))
        return ""
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                _read_document(name, node, manifests, problems)
    except yaml.YAMLError as error:
        problems.append(_problem(name, error))
        return _next_document(text, problems[-1].line)
    finally:
        loader.dispose()
    return ""


def _read_document(name: str, node: yaml.Node, manifests: list[Manifest], problems: list[Problem]) -> None:
    try:
        tree = _construct(node)
    except (yaml.YAMLError, ValueError) as error:
        problems.append(replace(_problem(name, error), foreign=not _is_meant_as_object(node)))
        return
    if tree is not None:
        _collect(name, tree, node, manifests, problems)


def _is_meant_as_object(node: yaml.Node) -> bool:
    """Whether a document names an API version or a kind. A workflow's `on` is no text either, and no matter here."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return any(key.value in ("apiVersion", "kind") for key, _ in pairs)


def _next_document(text: str, line: int) -> str:
    """The text from the first document that starts after a line, with as many empty lines before it; "" without one."""
    lines = text.split("\n")
    first = (
        line - 1 if any(before.strip() for before in lines[: line - 1]) else line
    )  # an open bracket errs at the next
    start = next((n for n in range(first, len(lines)) if lines[n].startswith("---")), None) if line else None
    return "" if start is None else "\n" * start + "\n".join(lines[start:])


def _problem(name: str, error: yaml.YAMLError | ValueError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(name, str(error))
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return Problem(name, said, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)


_STR, _INT, _MAP, _SEQ = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "map", "seq"))
_SIMPLE: Mapping[str, Mapping[str, Any]] = {
    "tag:yaml.org,2002:bool": {"true": True, "false": False},
    "tag:yaml.org,2002:null": {"": None, "null": None, "~": None},
    _INT: {"0": 0},
}
_MOST_KNOWN = 20_000
_TEXT_KEYS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "timestamp", "value"))


class _Constructor(yaml.constructor.SafeConstructor):
    """Timestamps stay text, as in JSON; a key written twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in _TEXT_KEYS:
                wrong = key.value if isinstance(key, yaml.ScalarNode) else "of several parts"
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {wrong} is not text: put it in quotes", key.start_mark
                )
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Constructor.yaml_constructors = {
    **yaml.constructor.SafeConstructor.yaml_constructors,
    "tag:yaml.org,2002:timestamp": yaml.constructor.SafeConstructor.construct_yaml_str,
    "tag:yaml.org,2002:binary": yaml.constructor.SafeConstructor.construct_undefined,
    "tag:yaml.org,2002:set": yaml.constructor.SafeConstructor.construct_undefined,
}


_RESOLVER = yaml.resolver.Resolver()


@lru_cache(_MOST_KNOWN)
def _resolved(kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
    return str(_RESOLVER.resolve(kind, value, implicit))  # type: ignore[no-untyped-call]


class _Loader(yaml.CSafeLoader):
    """The loader, which asks once what a plain text is: a number, a truth value, text. It is asked for every node, and
    so are the resolvers by path, of which there are none."""

    resolve = staticmethod(_resolved)
    descend_resolver = staticmethod(operator.is_)  # type: ignore[assignment]
    ascend_resolver = staticmethod(bool)  # type: ignore[assignment]


class _Unusual(Exception):
    """A node that takes the whole constructor: a merge, a number, a mistake."""


def _construct(node: yaml.Node) -> Any:
    try:
        return _plain(node)
    except _Unusual:
        return _Constructor().construct_document(node)


def _plain(node: yaml.Node) -> Any:
    """The value of a node that holds nothing but mappings, lists, texts, whole numbers, truth values and nulls, in half
    the constructor's time. Raises _Unusual."""
    tag = node.tag
    if type(node) is yaml.ScalarNode:
        if tag == _STR:
            return node.value
        simple = _SIMPLE.get(tag, {}).get(node.value, _Unusual)
        if simple is not _Unusual:
            return simple
        if tag == _INT and node.value.isdecimal() and node.value[0] != "0":
            return int(node.value)
    elif type(node) is yaml.MappingNode and tag == _MAP:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag != _STR or type(key) is not yaml.ScalarNode or key.value in found:
                raise _Unusual
            found[key.value] = _plain(value)
        return found
    elif type(node) is yaml.SequenceNode and tag == _SEQ:
        return [_plain(entry) for entry in node.value]
    raise _Unusual


def _collect(name: str, tree: Any, node: yaml.Node, manifests: list[Manifest], problems: list[Problem]) -> None:
    line = node.start_mark.line + 1
    if not isinstance(tree, dict):
        said = f"this document is not an object but {type(tree).__name__}"
        problems.append(Problem(name, said, line, foreign=True))
        return
    items = tree.get("items")
    if str(tree.get("kind", "")).endswith("List") and isinstance(items, list):
        nodes = _item_nodes(node)
        for item, item_node in zip(items, nodes, strict=True):
            _collect(name, item, item_node, manifests, problems)
        return
    missing = [key for key in ("apiVersion", "kind") if not isinstance(tree.get(key), str)]
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        missing.append("metadata.name")
    if missing:
        foreign = len(missing) == 3 or (metadata is None and _is_configuration(tree))
        problems.append(Problem(name, f"this document lacks {', '.join(missing)}", line, foreign=foreign))
        return
    manifests.append(Manifest(tree, name, line, node))


def _is_configuration(tree: Obj) -> bool:
    """Whether it is of a kind that no API serves, such as a kubeconfig: a program's settings in an object's form."""
    group, _, version = str(tree.get("apiVersion", "")).rpartition("/")
    try:
        schema_for(group, version, str(tree.get("kind", "")))
    except UnknownKind:
        return True
    return False


def _item_nodes(node: yaml.Node) -> list[yaml.Node]:
    assert isinstance(node, yaml.MappingNode)
    return next(value.value for key, value in node.value if key.value == "items")
