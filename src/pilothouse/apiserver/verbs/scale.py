"""scale: the replica count of a workload as an `autoscaling/v1` Scale."""

from __future__ import annotations

from typing import TypeVar

import orjson

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.accept import object_form
from pilothouse.apiserver.body import as_object, in_shape, read_object
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.change import Aspect, Make, change
from pilothouse.apiserver.forms import Renderer
from pilothouse.apiserver.options import APPLY
from pilothouse.apiserver.ownership import updating
from pilothouse.apiserver.verbs.apply import apply_configuration, decode_configuration
from pilothouse.apiserver.verbs.patch import patch_type, patcher
from pilothouse.client.wire import Response
from pilothouse.kinds.autoscaling.scale import KIND as SCALE_KIND
from pilothouse.kinds.columns import pairs, selector_text
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import BadRequest, Cause, Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.store.store import Record

_T = TypeVar("_T")
SCALE = SCALE_KIND.resource
_ASPECT = Aspect("scale", lambda kind, new, old: kind.prepare_update(new, old))
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def get_scale(backend: Backend, call: Call) -> Response:
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    return _respond(call, codec.decode(record.value))


async def update_scale(backend: Backend, call: Call) -> Response:
    source = codec.dump(read_object(call, SCALE))
    return await _write(backend, call, lambda current: codec.decode(source))


async def patch_scale(backend: Backend, call: Call) -> Response:
    if patch_type(call) in APPLY:
        if backend.store.get(call.key) is None:
            raise refusals.not_found(call.resource, call.route.name)
        return await apply_configuration(backend, call, _ASPECT, _read_configuration, _answer)
    return await _write(backend, call, patcher(call, SCALE))


async def _write(backend: Backend, call: Call, make_scale: Make) -> Response:
    def make(current: Obj) -> Obj:
        scale = make_scale(scale_of(call.kind, current))
        meta = scale.get("metadata") or {}
        if meta.get("name", call.route.name) != call.route.name:
            raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL")
        current["metadata"]["resourceVersion"] = meta.get("resourceVersion", "")
        _put(current, call.kind.scale_paths.replicas, _replicas(scale, call.route.name))
        return current

    record = await change(backend, call, _ASPECT, make, updating(call, "scale"))
    return _respond(call, codec.decode(record.value))


def _read_configuration(call: Call, aspect: Aspect) -> Obj:
    """A configuration of a Scale, as one of what is scaled."""
    scale = as_object(decode_configuration(call).value)
    if (scale.get("apiVersion"), scale.get("kind")) != (SCALE.api_version, SCALE.kind):
        raise BadRequest(f"an apply patch of this path names {SCALE.api_version} {SCALE.kind}")
    scale = in_shape(call, SCALE, scale)
    meta = scale.get("metadata") or {}
    if meta.get("name", call.route.name) != call.route.name:
        raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL")
    resource, kept = call.resource, ("resourceVersion", "uid")
    made: Obj = {"apiVersion": resource.api_version, "kind": resource.kind}
    made["metadata"] = {"name": call.route.name, **{field: meta[field] for field in kept if meta.get(field)}}
    if (scale.get("spec") or {}).get("replicas") is not None:
        _put(made, call.kind.scale_paths.replicas, _replicas(scale, call.route.name))
    return made


def _answer(call: Call, record: Record, status: int) -> Response:
    return _respond(call, codec.decode(record.value))


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


def scale_of(kind: Kind, obj: Obj) -> Obj:
    """The Scale of a workload. Raises BadRequest when a custom resource lacks the field that says how many."""
    paths = kind.scale_paths
    replicas = _value(obj, paths.replicas, int)
    if replicas is None and paths.selector is not None:
        raise BadRequest(f'the spec replicas field "{paths.replicas}" does not exist')
    status: Obj = {"replicas": _value(obj, paths.current, int) or 0}
    if paths.selector is None:
        status["selector"] = _selector((obj.get("spec") or {}).get("selector") or {})
    elif paths.selector:
        status["selector"] = _value(obj, paths.selector, str) or ""
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {field: obj["metadata"][field] for field in _META if field in obj["metadata"]},
        "spec": {"replicas": 1 if replicas is None else replicas},
        "status": status,
    }


def _selector(selector: Obj) -> str:
    """A ReplicationController's is a plain map of labels."""
    return selector_text(selector) if {"matchLabels", "matchExpressions"} & selector.keys() else pairs(selector)


def _value(obj: Obj, path: str, type_: type[_T]) -> _T | None:
    """The value at a path of dots and fields, None when there is none of that type."""
    found: object = obj
    for name in path[1:].split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, type_) else None


def _put(obj: Obj, path: str, replicas: int) -> None:
    *parents, last = path[1:].split(".")
    for name in parents:
        inner = obj.get(name)
        if not isinstance(inner, dict):
            inner = obj[name] = {}
        obj = inner
    obj[last] = replicas


def _respond(call: Call, obj: Obj) -> Response:
    form = object_form(call.request.headers.get("accept", ""))
    renderer = Renderer(SCALE_KIND, form, call.params.get("includeObject", ""))
    return Response(200, dict(JSON_HEADERS), renderer.single(orjson.dumps(scale_of(call.kind, obj))))
