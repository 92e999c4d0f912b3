"""create: a new object, named by its writer or from `generateName`."""

from __future__ import annotations

import uuid
from functools import partial

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.body import read_object, reshape
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.apiserver.ownership import Manager, owned, updating
from pilothouse.apiserver.validation import causes_of
from pilothouse.apiserver.verbs.reply import reply
from pilothouse.client.wire import Response
from pilothouse.kinds.problems import invalid_error
from pilothouse.machinery import names
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.store.store import KeyExists, Record

_NAME_TRIES = 8
_SERVER_SET = ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion")


async def create(backend: Backend, call: Call) -> Response:
    obj = read_object(call)
    if obj.setdefault("metadata", {}).get("resourceVersion"):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    return reply(call, await create_object(backend, call, obj, updating(call)), 201)


async def create_object(backend: Backend, call: Call, obj: Obj, manager: Manager) -> Record:
    """Admits, checks and stores a new object. Raises AlreadyExists, Invalid, and what admission raises."""
    # A name that was given is meant, even beside a generateName: only a generated one is tried anew.
    tries = _NAME_TRIES if not (obj.get("metadata") or {}).get("name") else 1
    identify(call, obj)
    kind = call.kind
    kind.fill_in(obj)
    request = AdmissionRequest(
        user=call.user,
        operation="CREATE",
        resource=call.resource,
        namespace=call.namespace,
        name=obj["metadata"].get("name", ""),
        object=obj,
        dry_run=call.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
        options=call.options("CreateOptions"),
        reshape=partial(reshape, call),
    )
    await backend.chain.admission.mutate(request)
    kind.fill_in(obj)
    kind.prepare_create(obj)
    allocator = backend.allocators.get((call.resource.group, call.resource.plural))
    if allocator is None:
        await _check(call, obj)
        await backend.chain.admission.validate(request)
        return await _reserve_and_store(backend, call, request, manager, tries)
    # Nobody waits for a webhook while something scarce is held.
    await backend.chain.admission.validate(request)
    async with allocator.allocated(obj, None, call.dry_run):
        await _check(call, obj)
        return await _reserve_and_store(backend, call, request, manager, tries)


async def _check(call: Call, obj: Obj) -> None:
    """Raises Invalid when the kind's rules are broken."""
    causes = await causes_of(call.kind, obj, None)
    if causes:
        meta = obj["metadata"]
        raise invalid_error(call.resource, meta.get("name") or meta.get("generateName") or "", causes)


def identify(call: Call, obj: Obj) -> None:
    """Gives a new object its name, namespace, uid and time of creation. Raises BadRequest."""
    meta = obj.setdefault("metadata", {})
    namespace = call.namespace
    if call.resource.namespaced:
        if not namespace:
            raise BadRequest(f"an object of kind {call.resource.kind} lives in a namespace: name one in the URL")
        if meta.get("namespace", namespace) not in ("", namespace):
            raise BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
                f" ({meta['namespace']}, {namespace})"
            )
        meta["namespace"] = namespace
    elif meta.get("namespace"):
        raise BadRequest(f"an object of kind {call.resource.kind} lives outside namespaces: remove metadata.namespace")
    for field in _SERVER_SET:
        meta.pop(field, None)
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = names.generate_name(meta["generateName"])
    meta["uid"] = str(uuid.uuid4())
    meta["creationTimestamp"] = timestamp()


async def _reserve_and_store(
    backend: Backend, call: Call, request: AdmissionRequest, manager: Manager, tries: int
) -> Record:
    assert request.object is not None
    async with backend.chain.admission.reserved(request):
        return await _store(backend, call, request.object, manager, tries)


async def _store(backend: Backend, call: Call, obj: Obj, manager: Manager, tries: int) -> Record:
    obj = owned(call.kind, obj, None, manager)
    meta = obj["metadata"]
    for left in reversed(range(tries)):
        key = codec.key(call.resource, call.namespace, meta["name"])
        value = codec.encode(obj)
        if call.dry_run:
            if backend.store.get(key) is not None:
                raise refusals.already_exists(call.resource, meta["name"])
            return codec.preview(key, value, 0)
        try:
            return await backend.store.create(key, value)
        except KeyExists:
            if left:
                meta["name"] = names.generate_name(meta["generateName"])
    raise refusals.already_exists(call.resource, meta["name"])
