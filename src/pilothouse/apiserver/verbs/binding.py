"""pods/binding: gives a pod its node, once. `bindings` is the same, with the pod's name in the body alone."""

from __future__ import annotations

from pilothouse.apiserver import refusals
from pilothouse.apiserver.body import check_type, read_object, read_shape
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.change import Aspect, change
from pilothouse.apiserver.ownership import updating
from pilothouse.apiserver.route import Route
from pilothouse.apiserver.verbs.reply import success
from pilothouse.client.wire import Request, Response
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj, Resource, timestamp

BINDING = Resource("", "v1", "Binding", "bindings", True)
BINDINGS = (BINDING.group, BINDING.version, BINDING.plural)


def of_the_pod(request: Request, route: Route) -> Route:
    """Where a post to `bindings` leads. Raises MethodNotAllowed, BadRequest."""
    if route.verb != "create" or route.name or not route.namespace:
        raise refusals.method_not_allowed() if not route.name else refusals.no_such_path()
    binding = read_shape(request, BINDING)
    check_type(binding, BINDING)
    name = (binding.get("metadata") or {}).get("name")
    if not name:
        raise BadRequest("name must be provided: set metadata.name to the pod's name")
    return route._replace(resource="pods", name=name, subresource="binding")


def _keep_all(kind: Kind, new: Obj, old: Obj) -> None:
    """The object was made from the current one here, not by the client."""


_ASPECT = Aspect("binding", _keep_all, validated=False, shares=True)


async def bind(backend: Backend, call: Call) -> Response:
    binding = read_object(call, BINDING)
    target = binding.get("target") or {}
    if target.get("kind", "Node") != "Node" or not target.get("name"):
        raise BadRequest("a pod is bound to a node: set target.kind to Node and target.name to the node's name")
    meta = binding.get("metadata") or {}
    if meta.get("name", call.route.name) != call.route.name:
        raise BadRequest(f"the name of the binding ({meta['name']}) does not match the pod's ({call.route.name})")

    def make(pod: Obj) -> Obj:
        _check(call, pod, meta.get("uid") or "")
        metadata = {**pod["metadata"], "resourceVersion": meta.get("resourceVersion") or ""}
        for field in ("annotations", "labels"):
            if meta.get(field):
                metadata[field] = {**(metadata.get(field) or {}), **meta[field]}
        status = {key: value for key, value in (pod.get("status") or {}).items() if key != "nominatedNodeName"}
        others = [condition for condition in status.get("conditions") or () if condition.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp()}
        status["conditions"] = [*others, scheduled]
        return {**pod, "metadata": metadata, "spec": {**pod["spec"], "nodeName": target["name"]}, "status": status}

    await change(backend, call, _ASPECT, make, updating(call, "binding"))
    return success(201)


def _check(call: Call, pod: Obj, uid: str) -> None:
    name, found = call.route.name, pod["metadata"].get("uid")
    resource = Resource("", "v1", "Binding", "pods/binding", True)
    if uid and uid != found:
        raise refusals.conflict(
            resource, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        )
    if pod["spec"].get("schedulingGates"):
        raise refusals.conflict(resource, name, f"pod {name} has non-empty .spec.schedulingGates")
    if pod["metadata"].get("deletionTimestamp"):
        raise refusals.conflict(resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
    node = pod["spec"].get("nodeName")
    if node:
        raise refusals.conflict(resource, name, f'pod {name} is already assigned to node "{node}"')
