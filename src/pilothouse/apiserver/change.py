"""Changing an object that exists: the way update, patch and the subresources that write share.

Read, change, admit, check, write on the condition that nobody wrote meanwhile; a caller who named no resourceVersion is
tried again on the newer object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.body import reshape
from pilothouse.apiserver.call import WRITE_RETRIES, Backend, Call
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.apiserver.deletion import is_final
from pilothouse.apiserver.ownership import Manager, owned
from pilothouse.apiserver.validation import causes_of
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import invalid_error
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Record, RevisionMismatch

Make = Callable[[Obj], Obj]
"""The wanted object from a fresh tree of the current one, which it may change and return."""

_FROM_OLD = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName")


@dataclass(frozen=True, slots=True)
class Aspect:
    """The part of an object that a (sub)resource writes: `prepare` takes everything else from the old object."""

    subresource: str
    prepare: Callable[[Kind, Obj, Obj], None]
    validated: bool = True
    """False when the server made the change itself, such as a pod's node, which an update may not touch."""
    shares: bool = False
    """True when `make` is given the current tree itself, changes none of it, and has nothing filled in."""


MAIN = Aspect("", lambda kind, new, old: kind.prepare_update(new, old))
STATUS = Aspect("status", lambda kind, new, old: kind.prepare_status_update(new, old))


async def change(backend: Backend, call: Call, aspect: Aspect, make: Make, manager: Manager) -> Record:
    """Carries out a change. Raises NotFound, Conflict, Invalid, and whatever `make` and admission raise."""
    for _ in range(WRITE_RETRIES):
        record = backend.store.get(call.key)
        if record is None:
            raise refusals.not_found(call.resource, call.route.name)
        old = codec.decode(record.value)
        new = make(old if aspect.shares else codec.decode(record.value))
        _check_version(call, new, record)
        try:
            return await _change_once(backend, call, aspect, record, new, old, manager)
        except RevisionMismatch:
            # On the newer object a resourceVersion that the caller named is found not to be the current one.
            continue
    raise refusals.conflict(call.resource, call.route.name)


def _check_version(call: Call, new: Obj, record: Record) -> None:
    """Raises Conflict when the wanted object names a resourceVersion that is not the current one."""
    version = new.setdefault("metadata", {}).get("resourceVersion") or ""
    if version and version != str(record.revision):
        raise refusals.conflict(call.resource, call.route.name)


async def _change_once(
    backend: Backend, call: Call, aspect: Aspect, record: Record, new: Obj, old: Obj, manager: Manager
) -> Record:
    kind = call.kind
    carry_over(call, new, old)
    if not aspect.shares:
        kind.fill_in(new)
    request = AdmissionRequest(
        user=call.user,
        operation="UPDATE",
        resource=call.resource,
        namespace=call.namespace,
        name=call.route.name,
        subresource=aspect.subresource,
        object=new,
        old_object=old,
        dry_run=call.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
        options=call.options("PatchOptions" if call.route.verb == "patch" else "UpdateOptions"),
        reshape=partial(reshape, call),
    )
    await backend.chain.admission.mutate(request)
    aspect.prepare(kind, new, old)
    allocator = backend.allocators.get((call.resource.group, call.resource.plural))
    if allocator is None or aspect.subresource:
        await _check(call, aspect, new, old)
        await backend.chain.admission.validate(request)
        return await _store(backend, call, record, request, manager)
    # Nobody waits for a webhook while something scarce is held.
    await backend.chain.admission.validate(request)
    async with allocator.allocated(new, old, call.dry_run):
        await _check(call, aspect, new, old)
        return await _store(backend, call, record, request, manager)


async def _check(call: Call, aspect: Aspect, new: Obj, old: Obj) -> None:
    """Raises Invalid when the kind's rules are broken."""
    causes = await causes_of(call.kind, new, old) if aspect.validated else []
    if causes:
        raise invalid_error(call.resource, call.route.name, causes)


async def _store(backend: Backend, call: Call, record: Record, request: AdmissionRequest, manager: Manager) -> Record:
    new, old = request.object, request.old_object
    assert new is not None
    assert old is not None
    new = owned(call.kind, new, old, manager)
    if new == old or (manager.settled and _same_but_for_times(new, old)):
        return record
    async with backend.chain.admission.reserved(request):
        value = codec.encode(new)
        if call.dry_run:
            return codec.preview(record.key, value, record.revision)
        if is_final(new):
            await backend.store.delete(record.key, record.revision)
            return codec.preview(record.key, value, record.revision)
        return await backend.store.update(record.key, value, record.revision)


def _same_but_for_times(new: Obj, old: Obj) -> bool:
    """True when an apply changed nothing but when managers last wrote: defaults and admission gave back what it took.

    Source: upstream's field manager, which keeps the old times of such a write so that it is none.
    """

    def timeless(obj: Obj) -> Obj:
        meta = obj["metadata"]
        fields = [{**entry, "time": None} for entry in meta.get("managedFields") or ()]
        return {**obj, "metadata": {**meta, "managedFields": fields}}

    return timeless(new) == timeless(old)


def carry_over(call: Call, new: Obj, old: Obj) -> None:
    """Gives the new object the identity of the old. Raises BadRequest, Conflict when it claims another."""
    meta, before = new["metadata"], old["metadata"]
    name, namespace = meta.get("name") or call.route.name, meta.get("namespace") or call.namespace
    if name != call.route.name:
        raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({call.route.name})")
    if namespace != call.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
            f" ({namespace}, {call.namespace})"
        )
    uid = meta.get("uid")
    if uid and uid != before.get("uid"):
        raise refusals.conflict(
            call.resource,
            name,
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before.get('uid')}",
        )
    meta["name"] = name
    if call.resource.namespaced:
        meta["namespace"] = namespace
    meta["resourceVersion"] = before["resourceVersion"]
    for field in _FROM_OLD:
        if field in before:
            meta[field] = before[field]
        else:
            meta.pop(field, None)
    meta.pop("selfLink", None)
