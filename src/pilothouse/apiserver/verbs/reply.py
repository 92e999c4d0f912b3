"""The answer to a write: the object as stored, in the form the client accepts."""

from __future__ import annotations

from pilothouse.apiserver.accept import WHOLE, object_form
from pilothouse.apiserver.call import JSON_HEADERS, Call
from pilothouse.apiserver.forms import Renderer
from pilothouse.client.wire import Response
from pilothouse.store.store import Record


def reply(call: Call, record: Record, status: int = 200) -> Response:
    form = object_form(call.request.headers.get("accept", ""))
    body = record.value
    if form is not WHOLE:
        body = Renderer(call.kind, form, call.params.get("includeObject", "")).single(body)
    return Response(status, dict(JSON_HEADERS), body)


def success(status: int) -> Response:
    """The answer to a write that has no object to show."""
    body = b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":%d}' % status
    return Response(status, dict(JSON_HEADERS), body)
