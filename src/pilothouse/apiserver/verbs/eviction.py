"""pods/eviction: a delete that disruption budgets may refuse. No budgets are served yet, so none refuses."""

from __future__ import annotations

from pilothouse.apiserver.body import read_object
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.deletion import read_options
from pilothouse.apiserver.verbs.delete import delete_object
from pilothouse.apiserver.verbs.reply import success
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Resource

EVICTION = Resource("policy", "v1", "Eviction", "evictions", True)


async def evict(backend: Backend, call: Call) -> Response:
    eviction = read_object(call, EVICTION)
    name = (eviction.get("metadata") or {}).get("name", call.route.name)
    if name != call.route.name:
        raise BadRequest(f"the name of the eviction ({name}) does not match the pod's ({call.route.name})")
    options = read_options(eviction.get("deleteOptions") or {}, call.params)
    await delete_object(backend, call, call.key, options)
    return success(201)
