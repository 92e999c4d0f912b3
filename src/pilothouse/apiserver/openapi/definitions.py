"""`components.schemas`: the published types that a set of resources needs, in the form OpenAPI 3 wants.

The packaged schemas are JSON Schema with nulls and without what upstream says about quantities and ports that may be
names; here they get the form that the Kubernetes API server publishes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pilothouse.apiserver.openapi.metrics import METRICS_DEFINITIONS
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import (
    INT_OR_STRING,
    KEY_DEFAULTS,
    QUANTITY,
    GroupVersionKind,
    definition_name,
    raw_definition,
)

REF = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
ALWAYS = (META + "DeleteOptions", META + "Status", META + "Patch", META + "WatchEvent")
_PACKAGED_REF = "#/$defs/"

_SPECIAL: dict[str, Obj] = {
    INT_OR_STRING: {
        "description": (
            "IntOrString is a type that can hold an int32 or a string. It allows you to have, for example, a JSON "
            "field that can accept a name or number."
        ),
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    QUANTITY: {
        "description": (
            "Quantity is a fixed-point representation of a number, written as a number with a suffix: 100m is a "
            "tenth, 1Gi is 2 to the power of 30, 1k is a thousand. Suffixes are n, u, m, k, M, G, T, P, E and Ki, "
            "Mi, Gi, Ti, Pi, Ei; an exponent such as e3 is possible too. It is stored in canonical form."
        ),
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
}


def name_of(gvk: GroupVersionKind) -> str | None:
    """The published name of a kind's type, None when nothing is published of it."""
    return definition_name(*gvk) or next(
        (name for name, definition in METRICS_DEFINITIONS.items() if gvk._asdict() in _kinds(definition)), None
    )


def _kinds(definition: Obj) -> list[dict[str, str]]:
    kinds: list[dict[str, str]] = definition.get("x-kubernetes-group-version-kind", [])
    return kinds


def schemas(roots: Iterable[str]) -> dict[str, Obj]:
    """The definitions with these names and all they refer to, by name."""
    found: dict[str, Obj] = {}
    wanted = [*roots, *ALWAYS]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _definition(name, wanted)
    return dict(sorted(found.items()))


def _definition(name: str, wanted: list[str]) -> Obj:
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    source = METRICS_DEFINITIONS.get(name) or raw_definition(name)
    return _clean(source, wanted, name)


def _clean(source: Obj, wanted: list[str], owner: str = "") -> Obj:
    result: Obj = {}
    ref = source.get("$ref")
    if isinstance(ref, str):
        name = ref.removeprefix(_PACKAGED_REF)
        wanted.append(name)
        result["allOf"] = [{"$ref": REF + name}]
    for key, value in source.items():
        if key == "type":
            result[key] = _type(value)
        elif key == "properties":
            result[key] = {name: _property(owner, name, field, wanted) for name, field in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _clean(value, wanted)
        elif key not in ("$ref", "enum"):
            # The only enums of the set are of apiVersion and kind, which upstream does not publish.
            result[key] = value
    return result


def _property(owner: str, name: str, source: Obj, wanted: list[str]) -> Obj:
    cleaned = _clean(source, wanted)
    default = KEY_DEFAULTS.get((owner, name))
    if default is not None:
        cleaned["default"] = default
    return cleaned


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return next((name for name in value if name != "null"), "object")
    return value
