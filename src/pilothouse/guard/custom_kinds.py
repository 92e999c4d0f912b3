"""Custom kinds whose definitions are among what is judged: their objects are held to their schemas. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pilothouse.machinery.errors import Cause
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural import UnknownField
from pilothouse.machinery.structural_prune import fill_in, shape
from pilothouse.machinery.structural_schema import Structural
from pilothouse.machinery.structural_validate import validate

Place = tuple[str, str]
"""An `apiVersion` and a `kind`."""


class CustomKinds(NamedTuple):
    """The schemas that definitions give, by what their objects are called, and the faults of definitions, by the
    identity of their tree. What has faults gives no schema."""

    schemas: Mapping[Place, Structural]
    faults: Mapping[int, Sequence[Cause]]


NONE = CustomKinds({}, {})


class Fit(NamedTuple):
    """What of an object its schema does not know, and what it does not allow."""

    unknown: tuple[UnknownField, ...]
    causes: tuple[Cause, ...]


def custom_kinds(trees: Iterable[Obj]) -> CustomKinds:
    """What the definitions among these trees give."""
    found: dict[Place, Structural] = {}
    faults: dict[int, Sequence[Cause]] = {}
    for tree in trees:
        if not _is_definition(tree):
            continue
        causes = _faults(tree)
        if causes is None:
            continue
        faults[id(tree)] = causes
        if not causes:
            spec = tree["spec"]
            for version in spec["versions"]:
                place = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[place] = Structural(version["schema"]["openAPIV3Schema"])
    return CustomKinds(found, faults)


def _is_definition(tree: Obj) -> bool:
    return (tree.get("apiVersion"), tree.get("kind")) == ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def _faults(tree: Obj) -> list[Cause] | None:
    """What the API server would refuse in a definition; None when values have wrong types, which its schema tells."""
    from pilothouse.kinds.apiextensions.definition import KIND  # late: most sets of manifests have no definition

    examined = KIND.examine(copy.deepcopy(tree))
    if examined.causes:
        return None
    obj = examined.tree
    obj.setdefault("metadata", {})
    KIND.fill_in(obj)
    KIND.prepare_create(obj)
    return KIND.validate(obj)


def fit(schema: Structural, tree: Obj) -> Fit:
    """How an object fits its kind's schema, defaults filled in; the tree is left as it is."""
    obj = copy.deepcopy(tree)
    shaped = shape(schema, obj)
    fill_in(schema, shaped.tree)
    return Fit(shaped.unknown, (*shaped.causes, *validate(schema, shaped.tree)))
