"""get: one object."""

from __future__ import annotations

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import WHOLE, object_form
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.forms import Renderer
from pilothouse.client.wire import Response


async def get(backend: Backend, call: Call) -> Response:
    record = backend.store.get(call.key)
    asked = refusals.resource_version(call.params.get("resourceVersion", ""))
    if asked > backend.store.revision:
        raise refusals.version_too_large(asked, backend.store.revision)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    form = object_form(call.request.headers.get("accept", ""))
    if form is WHOLE:
        return Response(200, dict(JSON_HEADERS), record.value)
    renderer = Renderer(call.kind, form, call.params.get("includeObject", ""))
    return Response(200, dict(JSON_HEADERS), renderer.single(record.value))
