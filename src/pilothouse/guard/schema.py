"""Checks of form, the same for every kind: does it fit the schema, is its API version still served. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pilothouse.guard.custom_kinds import NONE, CustomKinds, fit
from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.removals import removal_of
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import UnknownKind, schema_for
from pilothouse.machinery.structural import examine

Hit = tuple[Check, str, str]
"""A check, what is wrong, and the field path."""

UNFIT: Final = Check(
    "schema-error",
    "Does not fit its kind's schema",
    Severity.HIGH,
    "hygiene",
    "The API refuses the object, or drops a field that somebody counts on.",
    "# write the field as the API reference has it: kubectl explain KIND.spec",
    other_names="kube-linter: schema-validation; kubeconform",
)
LABELS: Final = Check(
    "metadata-invalid",
    "Name, label or annotation key that is none",
    Severity.HIGH,
    "hygiene",
    "The API refuses the object.",
    "metadata:\n  labels:\n    app.kubernetes.io/name: my-app   # letters, digits, - _ . and at most 63 of them",
    other_names="kube-score: label-values",
)
REMOVED: Final = Check(
    "api-version-removed",
    "API version that is no longer served",
    Severity.HIGH,
    "reliability",
    "The API refuses the object.",
    "apiVersion: ...   # the one the message names",
    other_names="kube-linter: no-extensions-v1beta; kube-score: stable-version",
)
DEPRECATED: Final = Check(
    "api-version-deprecated",
    "Deprecated API version",
    Severity.MEDIUM,
    "reliability",
    "A later version of Kubernetes will refuse the object.",
    "apiVersion: ...   # the one the message names",
    other_names="kube-linter: no-extensions-v1beta; kube-score: stable-version",
)
SCHEMA_CHECKS: Final = (UNFIT, LABELS, REMOVED, DEPRECATED)


class Form(NamedTuple):
    """What is wrong with an object's form; `sound` when every value has its schema's type, or no schema exists."""

    hits: list[Hit]
    sound: bool = True
    unknown: str = ""
    """Why there is no schema, "" when there is one."""


def form(tree: Obj, version: tuple[int, int], custom: CustomKinds = NONE) -> Form:
    """Looks at an object as a cluster of this Kubernetes version would that has these custom kinds."""
    hits = [*_metadata(tree), *_served(tree, version)]
    api_version = str(tree["apiVersion"])
    group, _, api = api_version.rpartition("/")
    own = custom.schemas.get((api_version, str(tree["kind"])))
    if own is not None:
        found_here = fit(own, tree)
        hits += [(UNFIT, f"unknown field {unknown.path}", unknown.path) for unknown in found_here.unknown]
        return Form([*hits, *((UNFIT, cause.message, cause.field) for cause in found_here.causes)])
    try:
        schema = schema_for(group, api, str(tree["kind"]))
    except UnknownKind as error:
        return Form(hits, unknown="" if removal_of(api_version, str(tree["kind"])) else str(error))
    found = examine(schema, tree)
    for unknown in found.unknown:
        hint = f": did you mean {unknown.suggestion}?" if unknown.suggestion else ""
        hits.append((UNFIT, f"unknown field {unknown.path}{hint}", unknown.path))
    hits += [(UNFIT, cause.message, cause.field) for cause in found.causes]
    hits += [(UNFIT, cause.message, cause.field) for cause in custom.faults.get(id(tree), ())]
    return Form(hits, sound=not found.causes)


def _served(tree: Obj, version: tuple[int, int]) -> Iterator[Hit]:
    api_version, kind = str(tree["apiVersion"]), str(tree["kind"])
    removal = removal_of(api_version, kind)
    if removal is not None and version >= removal.deprecated:
        if removal.removed is not None and version >= removal.removed:
            ended = f"{api_version} {kind} is not served since {_text(removal.removed)}; use {removal.instead}"
            yield REMOVED, ended, "apiVersion"
        else:
            later = f", not served from {_text(removal.removed)}" if removal.removed else ""
            said = f"{api_version} {kind} is deprecated since {_text(removal.deprecated)}{later}; use {removal.instead}"
            yield DEPRECATED, said, "apiVersion"


def _metadata(tree: Obj) -> Iterator[Hit]:
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict):
        return
    for field in ("labels", "annotations"):
        entries = metadata.get(field)
        for key, value in entries.items() if isinstance(entries, dict) else ():
            problems = [*names.label_key(str(key))] if field == "labels" else [*names.annotation_key(str(key))]
            if field == "labels" and isinstance(value, str):
                problems += names.label_value(value)
            for problem in problems:
                yield LABELS, f"{field} {key}: {problem}", f"metadata.{field}"


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
