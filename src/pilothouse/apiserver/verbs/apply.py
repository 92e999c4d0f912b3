"""apply: server-side apply of the fields a manager wants to own; creates the object when there is none."""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import media_types
from pilothouse.apiserver.authorise import authorise
from pilothouse.apiserver.body import as_object, field_validation
from pilothouse.apiserver.call import WRITE_RETRIES, Backend, Call
from pilothouse.apiserver.change import Aspect, change
from pilothouse.apiserver.ownership import Manager
from pilothouse.apiserver.verbs.create import create_object
from pilothouse.apiserver.verbs.reply import reply
from pilothouse.client.wire import Response
from pilothouse.machinery.apply.server_side import apply as apply_fields
from pilothouse.machinery.errors import AlreadyExists, BadRequest, UnsupportedMediaType
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.machinery.schema import GroupVersionKind, Schema
from pilothouse.machinery.strict_json import Decoded, strict_json
from pilothouse.machinery.structural import type_error
from pilothouse.store.store import Record

Read = Callable[[Call, Aspect], Obj]


async def apply(backend: Backend, call: Call, aspect: Aspect) -> Response:
    """Carries out an apply patch. Raises Conflict when others own what would change, unless forced."""
    return await apply_configuration(backend, call, aspect, _read, reply)


async def apply_configuration(
    backend: Backend, call: Call, aspect: Aspect, read: Read, answer: Callable[[Call, Record, int], Response]
) -> Response:
    """As `apply`; `read` makes the configuration of the whole object of what was sent, `answer` what is sent back."""
    manager = call.params["fieldManager"]
    schema = call.kind.schema
    if schema is None:
        raise UnsupportedMediaType(f"{call.resource.kind} has no schema to apply by; use a merge patch")
    read(call, aspect)  # refused before anything else happens
    settled = Manager(manager, aspect.subresource, settled=True)

    def make(current: Obj) -> Obj:
        return _merged(call, aspect, read, schema, current)

    for _ in range(WRITE_RETRIES):
        if backend.store.get(call.key) is not None or aspect.subresource:
            return answer(call, await change(backend, call, aspect, make, settled), 200)
        if "create" not in call.kind.verbs:
            raise refusals.method_not_allowed()
        await authorise(backend.chain.authorizer, call.user, call.route, "create")
        obj = _merged(call, aspect, read, schema, None)
        if obj["metadata"].get("uid") or obj["metadata"].get("resourceVersion"):
            raise refusals.conflict(call.resource, call.route.name, "the object to apply to does not exist any more")
        try:
            return answer(call, await create_object(backend, call, obj, settled), 201)
        except AlreadyExists:
            continue
    raise refusals.conflict(call.resource, call.route.name)


def _merged(call: Call, aspect: Aspect, read: Read, schema: Schema, current: Obj | None) -> Obj:
    # Read anew at every try: what is merged in becomes part of the object, which is then changed.
    return apply_fields(
        current,
        read(call, aspect),
        call.params["fieldManager"],
        force=call.flag("force"),
        subresource=aspect.subresource,
        schema=schema,
        now=timestamp(),
    )


def _read(call: Call, aspect: Aspect) -> Obj:
    """The configuration in the body, reduced to what this (sub)resource writes."""
    decoded = decode_configuration(call)
    tree = as_object(decoded.value)
    resource = call.resource
    if (tree.get("apiVersion"), tree.get("kind")) != (resource.api_version, resource.kind):
        raise BadRequest(
            f"an apply patch names the object's apiVersion and kind: {resource.api_version} {resource.kind},"
            f" not {tree.get('apiVersion')} {tree.get('kind')}"
        )
    tree = _typed(call, tree)
    if decoded.duplicates:
        _tell_twice(call)
    meta = tree.setdefault("metadata", {})
    meta["name"] = meta.get("name") or call.route.name
    if call.namespace:
        meta.setdefault("namespace", call.namespace)
    if meta["name"] != call.route.name:
        raise BadRequest(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({call.route.name})"
        )
    if call.kind.has_status and not aspect.subresource:
        tree.pop("status", None)
    elif aspect.subresource == "status":
        tree = {field: tree[field] for field in ("apiVersion", "kind", "metadata", "status") if field in tree}
    return tree


def _typed(call: Call, tree: Obj) -> Obj:
    """The configuration as its schema wants it. What the schema does not know nobody can own, whatever is asked of
    field validation; upstream's message, by its library for structured merges."""
    examination = call.kind.examine(tree)
    gvk = GroupVersionKind(call.resource.group, call.resource.version, call.resource.kind)
    if examination.causes:
        raise type_error(gvk, examination.causes)
    if not examination.unknown:
        return examination.tree
    found = [f".{field.path}: field not declared in schema" for field in examination.unknown]
    told = found[0] if len(found) == 1 else "errors:\n  " + "\n  ".join(found)
    meant = ", ".join(f'"{field.suggestion}"' for field in examination.unknown if field.suggestion)
    what = f"{call.namespace or ''}/{call.route.name}; {call.resource.api_version}, Kind={call.resource.kind}"
    raise BadRequest(
        f"failed to create typed patch object ({what}): {told}" + (f"; did you mean {meant}?" if meant else "")
    )


def _tell_twice(call: Call) -> None:
    """Refuses keys that were given twice, or warns of them; a patch is read as YAML, with lines, in any case."""
    from pilothouse.apiserver.yaml_body import decode_yaml, strictly

    validation = field_validation(call)
    if validation == "Ignore":
        return
    text = f"error converting YAML to JSON: {strictly(decode_yaml(call.request.body).duplicates)}"
    if validation == "Strict":
        raise BadRequest(f"error strict decoding YAML: {text}")
    call.warnings.append(text)


def decode_configuration(call: Call) -> Decoded:
    """What an apply patch says, in JSON or YAML. Raises BadRequest."""
    from pilothouse.apiserver.yaml_body import decode_yaml  # here: most applies are JSON, and PyYAML takes 20 ms

    media = media_types(call.request.headers.get("content-type", ""))
    if media and media[0].type.endswith("+json"):
        return strict_json(call.request.body)
    if call.request.body[:1] == b"{":
        try:
            return strict_json(call.request.body)
        except BadRequest:
            return decode_yaml(call.request.body)
    return decode_yaml(call.request.body)
