"""pods/eviction: a delete that the pod's disruption budget may refuse.

The budget is charged before the pod is deleted, on the condition that nobody charged it meanwhile; what was charged for
a pod that then stays is given back by the budget's controller after a while. So budgets hold under any number of
evictions at once.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from pilothouse.apiserver import codec, disruption_budgets, refusals
from pilothouse.apiserver.body import read_object
from pilothouse.apiserver.call import WRITE_RETRIES, Backend, Call
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.apiserver.deletion import Options, read_options
from pilothouse.apiserver.disruption_budgets import BUDGETS
from pilothouse.apiserver.verbs.delete import check_preconditions, delete_object
from pilothouse.apiserver.verbs.reply import success
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import BadRequest, Conflict, Timeout
from pilothouse.machinery.objects import Obj, Resource, timestamp
from pilothouse.store.store import RevisionMismatch

EVICTION = Resource("policy", "v1", "Eviction", "evictions", True)
_RETRIES = 64
"""How often a budget that others charge at the same time is tried, before the caller is asked to come again."""


async def evict(backend: Backend, call: Call) -> Response:
    """Raises TooManyRequests with the cause DisruptionBudget while the budget has nothing left."""
    eviction = read_object(call, EVICTION)
    name = (eviction.get("metadata") or {}).get("name", call.route.name)
    if name != call.route.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    await backend.chain.admission.admit(_admission(call, eviction, _options(call, eviction)))
    # Admission may have changed what it says about the delete.
    options = _options(call, eviction)
    for _ in range(WRITE_RETRIES):
        pod = _pod(backend, call)
        if not disruption_budgets.needs_no_budget(pod):
            break
        asked = options
        if disruption_budgets.may_become_ready(pod) and not options.resource_version:
            asked = dataclasses.replace(options, resource_version=pod["metadata"]["resourceVersion"])
        try:
            await _delete(backend, call, pod, asked)
        except Conflict:
            if asked is options:
                raise
            continue
        return success(201)
    await _within_budget(backend, call, pod, options)
    return success(201)


def _admission(call: Call, eviction: Obj, options: Options) -> AdmissionRequest:
    """The eviction itself; the delete it leads to is admitted too."""
    return AdmissionRequest(
        user=call.user,
        operation="CREATE",
        resource=call.resource,
        namespace=call.namespace,
        name=call.route.name,
        subresource="eviction",
        object=eviction,
        dry_run=options.dry_run,
        warnings=call.warnings,
    )


def _options(call: Call, eviction: Obj) -> Options:
    options = read_options(eviction.get("deleteOptions") or {}, call.params)
    return dataclasses.replace(options, dry_run=True) if call.dry_run else options


def _pod(backend: Backend, call: Call) -> Obj:
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    return codec.decode(record.value)


async def _within_budget(backend: Backend, call: Call, pod: Obj, options: Options) -> None:
    prefix = codec.prefix(BUDGETS, call.namespace)
    budgets = [codec.decode(record.value) for record in backend.store.list(prefix)]
    found = disruption_budgets.covering(pod, budgets)
    if len(found) > 1:
        raise disruption_budgets.several()
    if not found:
        await _delete(backend, call, pod, options)
        return
    name = found[0]["metadata"]["name"]
    if disruption_budgets.bearing(pod, found[0]) == "counts":
        await _charge(backend, call, name, options.dry_run)
        await _delete(backend, call, pod, options)
        return
    # The pod must still be as unhealthy as it was when the budget was asked.
    own = not options.resource_version
    version = options.resource_version or pod["metadata"]["resourceVersion"]
    try:
        await _delete(backend, call, pod, dataclasses.replace(options, resource_version=version))
    except Conflict:
        if own:
            raise disruption_budgets.being_processed(name) from None
        raise


async def _charge(backend: Backend, call: Call, name: str, dry_run: bool) -> None:
    """Takes one disruption from the budget of that name, if it is still there."""
    key = codec.key(BUDGETS, call.namespace, name)
    for _ in range(_RETRIES):
        record = backend.store.get(key)
        if record is None:
            return
        budget = codec.decode(record.value)
        disruption_budgets.spend(budget, call.route.name, dt.datetime.now(dt.UTC))
        if dry_run:
            return
        try:
            await backend.store.update(key, codec.encode(budget), record.revision)
        except RevisionMismatch:
            continue
        return
    raise Timeout(f'couldn\'t update PodDisruptionBudget "{name}" due to conflicts', retry_after_seconds=10)


async def _delete(backend: Backend, call: Call, pod: Obj, options: Options) -> None:
    """Notes on the pod why it goes, and deletes it on the conditions named."""
    if not options.dry_run and not pod["metadata"].get("deletionTimestamp"):
        options = await _mark(backend, call, options)
    await delete_object(backend, call, call.key, options)


async def _mark(backend: Backend, call: Call, options: Options) -> Options:
    """Sets the condition DisruptionTarget; a version asked for moves along with that write."""
    for _ in range(WRITE_RETRIES):
        record = backend.store.get(call.key)
        if record is None:
            raise refusals.not_found(call.resource, call.route.name)
        pod = codec.decode(record.value)
        check_preconditions(call, pod, call.route.name, options)
        _set_condition(pod)
        try:
            written = await backend.store.update(call.key, codec.encode(pod), record.revision)
        except RevisionMismatch:
            continue
        version = str(written.revision) if options.resource_version else ""
        return dataclasses.replace(options, resource_version=version)
    raise refusals.conflict(call.resource, call.route.name)


def _set_condition(pod: Obj) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    old: Obj = next((c for c in conditions if c.get("type") == "DisruptionTarget"), {})
    since = old.get("lastTransitionTime") if old.get("status") == "True" else None
    conditions[:] = [c for c in conditions if c.get("type") != "DisruptionTarget"]
    conditions.append(
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": since or timestamp(),
        }
    )
