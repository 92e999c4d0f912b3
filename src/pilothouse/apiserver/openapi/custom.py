"""Types of custom resources: the schema of their definition, with what is true of every object put in."""

from __future__ import annotations

import orjson

from pilothouse.apiserver.openapi.definitions import META, REF
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import GroupVersionKind

_API_VERSION: Obj = {
    "description": (
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized"
        " schemas to the latest internal value, and may reject unrecognized values. More info:"
        " https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
    ),
    "type": "string",
}
_KIND: Obj = {
    "description": (
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the"
        " endpoint the client submits requests to. Cannot be updated. In CamelCase. More info:"
        " https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
    ),
    "type": "string",
}
ROOTS = (META + "ObjectMeta", META + "ListMeta")
"""Published types that those of custom resources refer to."""


def custom_name(gvk: GroupVersionKind) -> str:
    """`com.example.stable.v1.CronTab` for CronTab of `stable.example.com/v1`."""
    return ".".join([*reversed(gvk.group.split(".")), gvk.version, gvk.kind])


def custom_definitions(gvk: GroupVersionKind, list_kind: str, schema: memoryview) -> dict[str, Obj]:
    """The types of a kind and of its list, by name."""
    source: Obj = orjson.loads(schema)
    own, list_ = custom_name(gvk), custom_name(gvk._replace(kind=list_kind))
    return {
        own: {**_resource(source), **_names(gvk)},
        list_: {**_list(gvk, own), **_names(gvk._replace(kind=list_kind))},
    }


def _names(gvk: GroupVersionKind) -> Obj:
    return {"x-kubernetes-group-version-kind": [gvk._asdict()]}


def _resource(source: Obj) -> Obj:
    given = source.get("properties") or {}
    metadata: Obj = {
        "description": "Standard object's metadata. More info:"
        " https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "allOf": [{"$ref": f"{REF}{META}ObjectMeta"}],
    }
    properties = {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": metadata,
        **{name: _embedded(child) for name, child in given.items() if name not in ("apiVersion", "kind", "metadata")},
    }
    return {**source, "type": "object", "properties": properties}


def _embedded(source: Obj) -> Obj:
    """The schema with the metadata of the objects within it."""
    result = dict(source)
    for key in ("items", "additionalProperties"):
        if isinstance(source.get(key), dict):
            result[key] = _embedded(source[key])
    if source.get("properties"):
        result["properties"] = {name: _embedded(child) for name, child in source["properties"].items()}
    return _resource(result) if source.get("x-kubernetes-embedded-resource") else result


def _list(gvk: GroupVersionKind, own: str) -> Obj:
    return {
        "description": f"{gvk.kind}List is a list of {gvk.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": _API_VERSION,
            "items": {
                "description": f"List of {gvk.kind}.",
                "type": "array",
                "items": {"allOf": [{"$ref": REF + own}]},
            },
            "kind": _KIND,
            "metadata": {
                "description": "Standard list metadata.",
                "allOf": [{"$ref": f"{REF}{META}ListMeta"}],
            },
        },
    }
