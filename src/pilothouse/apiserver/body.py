"""Request bodies: JSON, YAML or protobuf to a tree of the right shape, with every unknown or doubled field named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pilothouse.apiserver.accept import JSON, media_types
from pilothouse.apiserver.call import Call
from pilothouse.client.wire import Request
from pilothouse.kinds.apiextensions.custom_kind import CustomKind
from pilothouse.kinds.kind import published_schema
from pilothouse.machinery.errors import BadRequest, InternalError, UnsupportedMediaType
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.schema import GroupVersionKind, Schema
from pilothouse.machinery.strict_json import Decoded, strict_json
from pilothouse.machinery.structural import Examination, UnknownField, examine, strict_error, type_error

YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def decode_body(body: bytes, content_type: str, *, duplicates: bool) -> Decoded:
    """The tree of a body and the fields given twice. Raises BadRequest, UnsupportedMediaType."""
    media = media_types(content_type)
    kind = media[0].type if media else JSON
    if kind == JSON:
        return strict_json(body, duplicates=duplicates)
    if kind == YAML:
        from pilothouse.apiserver.yaml_body import decode_yaml

        return decode_yaml(body)
    if kind == PROTOBUF:
        from pilothouse.machinery.protobuf.decode import decode_protobuf

        return Decoded(decode_protobuf(body))
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}, {PROTOBUF}"
        f" (it was sent as {kind})"
    )


def schema_of(call: Call, resource: Resource) -> Schema | None:
    """The schema of the call's kind or, of another resource (a subresource's), the published one; None without."""
    return call.kind.schema if resource == call.resource else published_schema(resource)


def read_object(call: Call, expected: Resource | None = None) -> Obj:
    """The object in a call's body, of the call's kind or of `expected` (a subresource's).

    `fieldValidation` decides whether unknown and doubled fields are refused, warned of or dropped. Raises BadRequest.
    """
    resource = expected or call.resource
    validation = field_validation(call)
    decoded = decode_body(
        call.request.body, call.request.headers.get("content-type", ""), duplicates=validation != "Ignore"
    )
    tree = as_object(decoded.value)
    check_type(tree, resource)
    return in_shape(call, resource, tree, decoded.duplicates)


def as_object(value: Any) -> Obj:
    if not isinstance(value, dict):
        raise BadRequest("the body is not an object; send one object as JSON or YAML")
    return value


def check_type(tree: Obj, resource: Resource) -> None:
    """Refuses an object of another kind; fills in what a typed client left out."""
    tree.setdefault("apiVersion", resource.api_version)
    tree.setdefault("kind", resource.kind)
    if tree["apiVersion"] != resource.api_version or tree["kind"] != resource.kind:
        raise BadRequest(
            f"{tree['kind']} in version {str(tree['apiVersion'])!r} cannot be handled as a {resource.kind}:"
            f" this path takes {resource.api_version} {resource.kind}"
        )


def in_shape(call: Call, resource: Resource, tree: Obj, duplicates: Sequence[str] = ()) -> Obj:
    """The tree as its schema wants it. Raises BadRequest for wrong types, and unknown fields if they are refused."""
    if resource == call.resource:
        examination = call.kind.examine(tree)
    else:
        schema = published_schema(resource)
        examination = Examination(tree) if schema is None else examine(schema, tree)
    gvk = GroupVersionKind(resource.group, resource.version, resource.kind)
    if examination.causes:
        raise type_error(gvk, examination.causes)
    if examination.unknown or duplicates:
        validation = field_validation(call)
        if validation == "Strict":
            raise _strict_error(call, gvk, examination.unknown, duplicates)
        if validation == "Warn":
            call.warnings += duplicates
            call.warnings += [
                field.message + (f', did you mean "{field.suggestion}"?' if field.suggestion else "")
                for field in examination.unknown
            ]
    return examination.tree


def _strict_error(
    call: Call, gvk: GroupVersionKind, unknown: Sequence[UnknownField], duplicates: Sequence[str]
) -> BadRequest:
    """Upstream finds doubled fields of YAML and of custom resources before it looks at what the fields are."""
    if duplicates and duplicates[0].startswith("line "):
        from pilothouse.apiserver.yaml_body import strictly

        return strict_error(gvk, unknown, before=[strictly(duplicates)])
    if isinstance(call.kind, CustomKind):
        return strict_error(gvk, unknown, before=duplicates)
    return strict_error(gvk, unknown, after=duplicates)


def reshape(call: Call, tree: Obj) -> None:
    """Brings an object that something outside of this program rewrote into its schema's shape, in place, and fills in
    its defaults. Raises InternalError for wrong types; unknown fields are dropped."""
    examination = call.kind.examine(tree)
    if examination.causes:
        told = ", ".join(f"{cause.field}: {cause.message}" for cause in examination.causes)
        raise InternalError(f"Internal error occurred: admission made an object that is none: {told}")
    if examination.tree is not tree:
        made = examination.tree
        tree.clear()
        tree.update(made)
    call.kind.fill_in(tree)


def read_shape(request: Request, resource: Resource) -> Obj:
    """The object in a body that is not stored (options, a question), unknown fields dropped. Raises BadRequest."""
    decoded = decode_body(request.body, request.headers.get("content-type", ""), duplicates=False)
    tree = as_object(decoded.value)
    schema = published_schema(resource)
    if schema is None:
        return tree
    examination = examine(schema, tree)
    if examination.causes:
        raise type_error(GroupVersionKind(resource.group, resource.version, resource.kind), examination.causes)
    return examination.tree


def field_validation(call: Call) -> str:
    """Ignore, Warn or Strict. Raises BadRequest for anything else."""
    value = call.params.get("fieldValidation", "") or "Warn"
    if value not in ("Ignore", "Warn", "Strict"):
        raise BadRequest(f'fieldValidation: Unsupported value: "{value}": supported values: "Ignore", "Strict", "Warn"')
    return value
