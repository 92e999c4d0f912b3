"""The history of a workload's template in ControllerRevisions, as `kubectl rollout history` and `undo` read it. Pure.

A revision's data is a strategic merge patch that puts the whole template back. Of equal templates there is one
revision: going back to an earlier template gives its revision the highest number anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson

from pilothouse.controllers.names import hash_of, prune
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.view import Object, to_tree
from pilothouse.machinery.objects import Obj

HASH = "controller-revision-hash"
_DEFAULT_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Create:
    """A new revision from its tree."""

    name: str
    revision: int
    tree: Obj


@dataclass(frozen=True, slots=True)
class Renumber:
    """An earlier revision is the newest again."""

    target: ControllerRevision
    revision: int


def data_of(template: Obj) -> Obj:
    """The patch that puts `template` back; keys sorted, because kubectl compares bytes."""
    data: Obj = orjson.loads(
        orjson.dumps({"spec": {"template": {**template, "$patch": "replace"}}}, option=orjson.OPT_SORT_KEYS)
    )
    return data


def template_of(revision: ControllerRevision) -> Obj:
    """The template that a revision keeps."""
    template = (revision.data.get("spec") or {}).get("template") or {}
    return {key: value for key, value in template.items() if key != "$patch"}


def in_order(revisions: Sequence[ControllerRevision]) -> list[ControllerRevision]:
    """Oldest first."""
    return sorted(revisions, key=lambda r: (r.revision, r.metadata.creation_timestamp or "", r.name))


def newest(
    owner: Object,
    template: Obj,
    revisions: Sequence[ControllerRevision],
    collisions: int | None,
    hash_label: str = HASH,
) -> tuple[str, Create | Renumber | None]:
    """The name of the template's revision, and what is to be done to make it the newest one."""
    known = in_order(revisions)
    wanted = prune(template)
    last = known[-1].revision if known else 0
    equal = [revision for revision in known if prune(template_of(revision)) == wanted]
    if equal:
        found = equal[-1]
        return found.name, None if found.revision == last else Renumber(found, last + 1)
    digest = hash_of(template, str(collisions) if collisions else "")
    name = f"{owner.name}-{digest}"
    meta = template.get("metadata") or {}
    annotations = owner.metadata.annotations
    tree: Obj = {
        "metadata": {
            "name": name,
            "labels": {**(meta.get("labels") or {}), hash_label: digest},
            "ownerReferences": [to_tree(owner.as_owner())],
            **({"annotations": annotations} if annotations else {}),
        },
        "data": data_of(template),
        "revision": last + 1,
    }
    return name, Create(name, last + 1, tree)


def surplus(
    revisions: Sequence[ControllerRevision], live: Collection[str], limit: int | None
) -> list[ControllerRevision]:
    """The oldest revisions beyond the history limit; those named in `live` are in use and do not count."""
    limit = _DEFAULT_LIMIT if limit is None else limit
    past = [r for r in in_order(revisions) if r.name not in live and r.metadata.deletion_timestamp is None]
    return past[: max(0, len(past) - limit)]


def line_of(action: Create | Renumber) -> str:
    """The action as one line of golden text."""
    if isinstance(action, Create):
        return f"create revision {action.name} as {action.revision}"
    return f"renumber revision {action.target.name} to {action.revision}"
