"""delete and deletecollection: at once, or marked to be removed when finalizers and the node have done their part."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import NamedTuple

import orjson

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.accept import WHOLE
from pilothouse.apiserver.body import read_shape
from pilothouse.apiserver.call import JSON_HEADERS, WRITE_RETRIES, Backend, Call
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.apiserver.deletion import Options, is_final, mark, read_options
from pilothouse.apiserver.forms import Renderer
from pilothouse.apiserver.pages import Position
from pilothouse.apiserver.selection import Selection
from pilothouse.apiserver.verbs.list import candidates
from pilothouse.apiserver.verbs.reply import reply
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Record, RevisionMismatch

_DELETE_OPTIONS = Resource("", "v1", "DeleteOptions", "deleteoptions", False)
_AT_ONCE = 64
"""How many objects of a collection are deleted side by side, to share the store's transactions."""


class Outcome(NamedTuple):
    """The object after the delete, and whether it is gone."""

    record: Record
    gone: bool


async def delete(backend: Backend, call: Call) -> Response:
    outcome = await delete_object(backend, call, call.key, _options(call))
    if not outcome.gone or call.kind.returns_deleted:
        return reply(call, outcome.record)
    tree = codec.decode(outcome.record.value)
    details = {"name": call.route.name, "kind": call.resource.plural, "uid": tree["metadata"]["uid"]}
    if call.resource.group:
        details["group"] = call.resource.group
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return Response(200, dict(JSON_HEADERS), orjson.dumps(status))


async def delete_collection(backend: Backend, call: Call) -> Response:
    options = _options(call)
    selection = Selection(call.kind, call.params.get("labelSelector", ""), call.params.get("fieldSelector", ""))
    records = [
        record
        for record in candidates(backend.store, call, selection, Position(None))
        if selection.everything or selection.matches(record.value)
    ]
    done: list[Record] = []
    for start in range(0, len(records), _AT_ONCE):
        group = records[start : start + _AT_ONCE]
        outcomes = await asyncio.gather(
            *(delete_object(backend, call, record.key, options) for record in group), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, Outcome):
                done.append(outcome.record)
            elif not isinstance(outcome, NotFound):
                raise outcome
    head = Renderer(call.kind, WHOLE).list_head({"resourceVersion": str(backend.store.revision)})
    body = head + b",".join([record.value for record in done]) + b"]}"
    return Response(200, dict(JSON_HEADERS), body)


def _options(call: Call) -> Options:
    tree: Obj = read_shape(call.request, _DELETE_OPTIONS) if call.request.body else {}
    return read_options(tree, call.params)


async def delete_object(backend: Backend, call: Call, key: str, options: Options) -> Outcome:
    """Deletes the object of a key. Raises NotFound, Conflict (preconditions), and what admission raises."""
    name = key.rsplit("/", 1)[1]
    admitted = False
    for _ in range(WRITE_RETRIES):
        record = backend.store.get(key)
        if record is None:
            raise refusals.not_found(call.resource, name)
        obj = codec.decode(record.value)
        check_preconditions(call, obj, name, options)
        if not admitted:
            await backend.chain.admission.admit(_admission(call, obj, name, options))
            admitted = True
        try:
            return await _delete_once(backend, call, record, obj, options)
        except RevisionMismatch:
            continue
    raise refusals.conflict(call.resource, name)


def _admission(call: Call, obj: Obj, name: str, options: Options) -> AdmissionRequest:
    return AdmissionRequest(
        user=call.user,
        operation="DELETE",
        resource=call.resource,
        namespace=obj["metadata"].get("namespace", ""),
        name=name,
        old_object=obj,
        dry_run=options.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
        options=call.options("DeleteOptions"),
    )


def check_preconditions(call: Call, obj: Obj, name: str, options: Options) -> None:
    """Raises Conflict when the object is not the one, or not in the version, that the options name."""
    meta = obj["metadata"]
    for asked, found, what in (
        (options.uid, meta.get("uid"), "UID"),
        (options.resource_version, meta.get("resourceVersion"), "ResourceVersion"),
    ):
        if asked and asked != found:
            raise refusals.conflict(
                call.resource,
                name,
                f"Precondition failed: {what} in precondition: {asked}, {what} in object meta: {found}",
            )


async def _delete_once(backend: Backend, call: Call, record: Record, obj: Obj, options: Options) -> Outcome:
    if not obj["metadata"].get("deletionTimestamp"):
        call.kind.on_delete(obj)
    changed = mark(call.resource, obj, options, dt.datetime.now(dt.UTC))
    final = is_final(obj)
    if options.dry_run:
        return Outcome(record, final)
    if final:
        return Outcome(await backend.store.delete(record.key, record.revision), True)
    if not changed:
        return Outcome(record, False)
    return Outcome(await backend.store.update(record.key, codec.encode(obj), record.revision), False)
