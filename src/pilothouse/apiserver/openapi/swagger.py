"""OpenAPI 3 documents turned into the one Swagger 2.0 document of `/openapi/v2`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pilothouse.apiserver.openapi.definitions import REF
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import INT_OR_STRING, QUANTITY

_NOT_IN_V2 = ("anyOf", "oneOf", "not", "nullable")
"""Of custom resources; upstream leaves them out of this document as well."""
_PRESERVES = "x-kubernetes-preserve-unknown-fields"
_MEANT = "x-kubernetes-group-version-kind"
_METHODS = ("get", "put", "post", "patch", "delete")


def swagger(info: Obj, documents: Iterable[Obj]) -> Obj:
    """One document with the paths and types of all."""
    paths: Obj = {}
    definitions: Obj = {}
    for document in documents:
        for name, definition in document["components"]["schemas"].items():
            if name not in definitions:
                definitions[name] = _definition(name, definition)
        for path, item in document["paths"].items():
            paths[path] = _path(item)
    return {"swagger": "2.0", "info": info, "paths": paths, "definitions": dict(sorted(definitions.items()))}


def _definition(name: str, definition: Obj) -> Obj:
    if name in (INT_OR_STRING, QUANTITY):
        # Swagger 2 has no oneOf: upstream publishes these as strings.
        return {**{key: value for key, value in definition.items() if key != "oneOf"}, "type": "string"}
    if definition.get(_PRESERVES):
        # Clients that validate by this document take fields that are not named for mistakes, so none is.
        return {"type": "object", **{key: definition[key] for key in (_MEANT,) if key in definition}}
    converted: Obj = _schema(definition)
    return converted


def _loosely(schema: Obj) -> Obj:
    """The schema without what clients of this document misread: type and content of what may be null or may hold fields
    that are not named. Source: upstream's conversion of structural schemas to OpenAPI v2."""
    result = dict(schema)
    if schema.get("nullable") or schema.get(_PRESERVES):
        for key in ("items", "properties"):
            result.pop(key, None)
    if schema.get("nullable") or (schema.get(_PRESERVES) and schema.get("type") == "object"):
        result.pop("type", None)
    if result.get("type") == "array" and "items" not in result:
        del result["type"]
    nullable = [name for name, child in result.get("properties", {}).items() if child.get("nullable")]
    if nullable and "required" in result:
        result["required"] = [name for name in result["required"] if name not in nullable]
        if not result["required"]:
            del result["required"]
    return result


def _schema(schema: Obj) -> Obj:
    result: Obj = {}
    for key, value in _loosely(schema).items():
        if key in _NOT_IN_V2:
            continue
        if key == "allOf":
            if "$ref" not in value[0]:
                continue
            result["$ref"] = _ref(value[0]["$ref"])
        elif key == "$ref":
            result["$ref"] = _ref(value)
        elif key == "properties":
            result[key] = {name: _schema(field) for name, field in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = _schema(value)
        else:
            result[key] = value
    return result


def _ref(ref: str) -> str:
    return "#/definitions/" + ref.removeprefix(REF)


def _path(item: Obj) -> Obj:
    result: Obj = {method: _operation(item[method]) for method in _METHODS if method in item}
    if "parameters" in item:
        result["parameters"] = [_parameter(parameter) for parameter in item["parameters"]]
    return result


def _operation(operation: Obj) -> Obj:
    result = {key: value for key, value in operation.items() if key not in ("requestBody", "parameters", "responses")}
    result["parameters"] = [_parameter(parameter) for parameter in operation["parameters"]]
    result["produces"] = ["application/json"]
    result["consumes"] = ["*/*"]
    body = operation.get("requestBody")
    if body:
        result["consumes"] = list(body["content"])
        schema = next(iter(body["content"].values()))["schema"]
        result["parameters"].insert(
            0, {"name": "body", "in": "body", "required": body["required"], "schema": _schema(schema)}
        )
    result["responses"] = {code: _response(response) for code, response in operation["responses"].items()}
    return result


def _response(response: Obj) -> Obj:
    result: Obj = {"description": response["description"]}
    for content in response.get("content", {}).values():
        result["schema"] = _schema(content["schema"])
    return result


def _parameter(parameter: Obj) -> Obj:
    flat: dict[str, Any] = {key: value for key, value in parameter.items() if key != "schema"}
    return {**flat, **parameter["schema"]}
