"""patch: merge, strategic merge and JSON patches; server-side apply is in its own file."""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import media_types
from pilothouse.apiserver.body import check_type, in_shape, schema_of
from pilothouse.apiserver.call import Backend, Call, Verb
from pilothouse.apiserver.change import MAIN, Aspect, change
from pilothouse.apiserver.options import APPLY
from pilothouse.apiserver.ownership import updating
from pilothouse.apiserver.verbs.apply import apply
from pilothouse.apiserver.verbs.reply import reply
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import UnsupportedMediaType
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.patch.json_patch import json_patch
from pilothouse.machinery.patch.merge_patch import merge_patch
from pilothouse.machinery.patch.strategic import strategic_merge_patch
from pilothouse.machinery.strict_json import decode_json, strict_json

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


async def patch(backend: Backend, call: Call) -> Response:
    return await patch_aspect(backend, call, MAIN)


def patch_of(aspect: Aspect) -> Verb:
    """The patch verb of a subresource."""

    async def patch_subresource(backend: Backend, call: Call) -> Response:
        return await patch_aspect(backend, call, aspect)

    return patch_subresource


async def patch_aspect(backend: Backend, call: Call, aspect: Aspect) -> Response:
    """Patches what the aspect covers."""
    if patch_type(call) in APPLY:
        return await apply(backend, call, aspect)
    if backend.store.get(call.key) is None:
        raise refusals.not_found(call.resource, call.route.name)
    merged = patcher(call, call.resource)
    record = await change(backend, call, aspect, merged, updating(call, aspect.subresource))
    return reply(call, record)


def patch_type(call: Call) -> str:
    """The media type of a patch."""
    media = media_types(call.request.headers.get("content-type", ""))
    return media[0].type if media else ""


def patcher(call: Call, resource: Resource) -> Callable[[Obj], Obj]:
    """A function that applies the call's patch to a tree of `resource`. Raises UnsupportedMediaType, BadRequest."""
    kind, body = patch_type(call), call.request.body
    schema = schema_of(call, resource)
    strategic = schema is not None and (resource != call.resource or call.kind.strategic_merge)
    if kind not in (MERGE, STRATEGIC, JSON_PATCH) or (kind == STRATEGIC and not strategic):
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {JSON_PATCH}, {MERGE},"
            f" {f'{STRATEGIC}, ' if strategic else ''}{', '.join(sorted(APPLY))} (it was sent as {kind or 'nothing'})"
        )
    duplicates = strict_json(body).duplicates if kind != JSON_PATCH else ()

    def patched(current: Obj) -> Obj:
        # Decoded anew at every try: what is merged in becomes part of the object, which is then changed.
        tree = decode_json(body)
        if kind == JSON_PATCH:
            result = json_patch(current, tree)
        elif kind == MERGE or schema is None:
            result = merge_patch(current, tree)
        else:
            result = strategic_merge_patch(current, tree, schema)
        check_type(result, resource)
        return in_shape(call, resource, result, duplicates)

    return patched
