"""scale: the replica count of a workload as an `autoscaling/v1` Scale."""

from __future__ import annotations

import orjson

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.body import read_object
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.change import Aspect, Make, change
from pilothouse.apiserver.ownership import updating
from pilothouse.apiserver.verbs.patch import patcher
from pilothouse.client.wire import Response
from pilothouse.kinds.columns import pairs, selector_text
from pilothouse.machinery.errors import BadRequest, Cause, Invalid
from pilothouse.machinery.objects import Obj, Resource

SCALE = Resource("autoscaling", "v1", "Scale", "scales", True)
_ASPECT = Aspect("scale", lambda kind, new, old: kind.prepare_update(new, old))
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def get_scale(backend: Backend, call: Call) -> Response:
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    return _respond(codec.decode(record.value))


async def update_scale(backend: Backend, call: Call) -> Response:
    source = codec.dump(read_object(call, SCALE))
    return await _write(backend, call, lambda current: codec.decode(source))


async def patch_scale(backend: Backend, call: Call) -> Response:
    return await _write(backend, call, patcher(call, SCALE))


async def _write(backend: Backend, call: Call, make_scale: Make) -> Response:
    def make(current: Obj) -> Obj:
        scale = make_scale(scale_of(current))
        meta = scale.get("metadata") or {}
        if meta.get("name", call.route.name) != call.route.name:
            raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL")
        current["metadata"]["resourceVersion"] = meta.get("resourceVersion", "")
        current["spec"]["replicas"] = _replicas(scale, call.route.name)
        return current

    record = await change(backend, call, _ASPECT, make, updating(call, "scale"))
    return _respond(codec.decode(record.value))


def _replicas(scale: Obj, name: str) -> int:
    replicas: int = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise Invalid(
            f'Scale.autoscaling "{name}" is invalid: spec.replicas: {why}',
            group="autoscaling",
            kind="Scale",
            name=name,
            causes=[Cause("spec.replicas", "FieldValueInvalid", why)],
        )
    return replicas


def scale_of(obj: Obj) -> Obj:
    """The Scale of a workload."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {field: obj["metadata"][field] for field in _META if field in obj["metadata"]},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {"replicas": status.get("replicas", 0), "selector": _selector(spec.get("selector") or {})},
    }


def _selector(selector: Obj) -> str:
    """A ReplicationController's is a plain map of labels."""
    return selector_text(selector) if {"matchLabels", "matchExpressions"} & selector.keys() else pairs(selector)


def _respond(obj: Obj) -> Response:
    return Response(200, dict(JSON_HEADERS), orjson.dumps(scale_of(obj)))
