"""The variables that expressions of policies and webhooks may name.

Source: Kubernetes documentation, "Validation Expression"; the types are those of `admission/v1` AdmissionRequest and of
the fields of a Namespace that upstream shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from pilothouse.machinery.objects import Obj, Resource
from pilothouse.policy.cel import Budget, EvaluationError, Program, Type, types
from pilothouse.policy.cel.library.authorizer import Authorizer, Decide, Question, ResourceCheck
from pilothouse.policy.cel.schema import Declared, declare

_TEXT: Obj = {"type": "string"}
_NUMBER: Obj = {"type": "integer"}
_ANYTHING: Obj = {"x-kubernetes-int-or-string": True}


def _object(**fields: Obj) -> Obj:
    return {"type": "object", "properties": fields}


def _map(values: Obj) -> Obj:
    return {"type": "object", "additionalProperties": values}


def _list(items: Obj) -> Obj:
    return {"type": "array", "items": items}


_KIND = _object(group=_TEXT, version=_TEXT, kind=_TEXT)
_RESOURCE = _object(group=_TEXT, version=_TEXT, resource=_TEXT)
_USER = _object(username=_TEXT, uid=_TEXT, groups=_list(_TEXT), extra=_map(_list(_TEXT)))
_REQUEST = _object(
    kind=_KIND,
    resource=_RESOURCE,
    subResource=_TEXT,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=_TEXT,
    name=_TEXT,
    namespace=_TEXT,
    operation=_TEXT,
    userInfo=_USER,
    dryRun={"type": "boolean"},
    options=_ANYTHING,
)
_METADATA = _object(
    name=_TEXT,
    generateName=_TEXT,
    namespace=_TEXT,
    labels=_map(_TEXT),
    annotations=_map(_TEXT),
    UID=_TEXT,
    creationTimestamp={"type": "string", "format": "date-time"},
    deletionTimestamp={"type": "string", "format": "date-time"},
    deletionGracePeriodSeconds=_NUMBER,
    generation=_NUMBER,
    resourceVersion=_TEXT,
    finalizers=_list(_TEXT),
)
_NAMESPACE = _object(metadata=_METADATA, spec=_object(finalizers=_list(_TEXT)), status=_object(phase=_TEXT))


@cache
def _declared() -> Declared:
    return declare(_object(request=_REQUEST, namespaceObject=_NAMESPACE), "kubernetes")


def messages() -> bytes:
    """The object types of `request` and `namespaceObject`."""
    return _declared().messages


def declarations(*, params: bool, authorizer: bool, namespace: bool = True) -> dict[str, Type]:
    """The variables of an expression; `params` when the policy has parameters."""
    found = {"object": types.DYN, "oldObject": types.DYN, "request": Type("kubernetes__dot__request")}
    if namespace:
        found["namespaceObject"] = Type("kubernetes__dot__namespaceObject")
    if params:
        found["params"] = types.DYN
    if authorizer:
        found |= {"authorizer": types.AUTHORIZER, "authorizer.requestResource": types.RESOURCE_CHECK}
    return found


class Inputs(NamedTuple):
    """What expressions are evaluated for: JSON trees, so that they can be handed to another process."""

    object: Obj | None
    old_object: Obj | None
    request: Obj
    namespace: Obj | None = None
    params: Obj | None = None


class Bindings(dict[str, Any]):
    """Values of variables; those of a policy's own variables are found when they are first asked for."""

    def __init__(self, inputs: Inputs, decide: Decide, variables: Mapping[str, Program], budget: Budget) -> None:
        super().__init__(
            object=inputs.object,
            oldObject=inputs.old_object,
            request=inputs.request,
            namespaceObject=inputs.namespace and _shown(inputs.namespace),
            params=inputs.params,
        )
        self["authorizer"] = Authorizer(decide)
        self["authorizer.requestResource"] = ResourceCheck(decide, _asked_for(inputs.request))
        self._variables = variables
        self._failed: dict[str, str] = {}
        self._budget = budget

    def __missing__(self, name: str) -> Any:
        short = name.removeprefix("variables.")
        program = self._variables.get(short) if short != name else None
        if program is None:
            raise KeyError(name)
        if name in self._failed:
            raise EvaluationError(self._failed[name])
        try:
            value = program.evaluate_within(self, self._budget)
        except EvaluationError as error:
            self._failed[name] = f'composited variable "{short}" fails to evaluate: {error}'
            raise EvaluationError(self._failed[name]) from None
        self[name] = value
        return value


def _asked_for(request: Obj) -> Question:
    resource = request.get("resource") or {}
    return Question(
        group=resource.get("group", ""),
        resource=resource.get("resource", ""),
        subresource=request.get("subResource", ""),
        namespace=request.get("namespace", ""),
        name=request.get("name", ""),
    )


def _shown(namespace: Obj) -> Obj:
    """The namespace as upstream shows it."""
    convert: Callable[[Any], Any] | None = _declared().convert
    metadata = dict(namespace.get("metadata") or {})
    if "uid" in metadata:
        metadata["UID"] = metadata.pop("uid")
    fields: Obj = {name: namespace[name] for name in ("spec", "status") if name in namespace}
    whole: dict[str, Obj] = {"namespaceObject": {"metadata": metadata, **fields}}
    shown: Obj = convert(whole)["namespaceObject"] if convert else whole["namespaceObject"]
    return shown


def request_value(
    *,
    operation: str,
    resource: Resource,
    requested: Resource,
    subresource: str,
    namespace: str,
    name: str,
    user: Obj,
    dry_run: bool,
    options: Obj | None,
) -> Obj:
    """The `AdmissionRequest` without its objects; what is empty is left out as upstream's JSON does."""
    found: Obj = {
        "kind": _kind(resource),
        "resource": _resource(resource),
        "subResource": subresource,
        "requestKind": _kind(requested),
        "requestResource": _resource(requested),
        "requestSubResource": subresource,
        "name": name,
        "namespace": namespace,
        "operation": operation,
        "userInfo": user,
        "dryRun": dry_run,
        "options": options,
    }
    always = ("operation", "userInfo", "dryRun", "options")
    return {key: value for key, value in found.items() if value or key in always}


def _kind(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def user_value(name: str, uid: str, groups: Iterable[str], extra: Mapping[str, Iterable[str]]) -> Obj:
    """`authentication/v1` UserInfo."""
    more = {key: list(values) for key, values in extra.items()}
    found: Obj = {"username": name, "uid": uid, "groups": list(groups), "extra": more}
    return {key: value for key, value in found.items() if value}
