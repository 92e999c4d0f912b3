"""What is wrong with a policy's expressions for the kinds it names: fields that are none, types that do not fit. Pure.

At admission `object` may be anything, so that a rule for a field of a later version still compiles. This is the second
look, at published schemas; it warns and refuses nothing. Source: Kubernetes' `policy/validating/typechecking.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product

from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.schema import Node, UnknownKind, schema_for
from pilothouse.policy.admission import variables
from pilothouse.policy.cel import CompileError, Environment, Type, types
from pilothouse.policy.cel.schema import Declared, declare, joined

MOST_KINDS = 10
Find = Callable[[str, str, str], Resource | None]
"""The resource of a group, version and plural; None when it is not built in."""


def warnings(policy: Obj, find: Find) -> list[Obj]:
    """`status.typeChecking.expressionWarnings`: one for each that does not fit, with the kinds it fails for."""
    spec = policy.get("spec") or {}
    found: dict[str, list[str]] = {}
    for resource in _resources(spec, find):
        for field, report in _problems(spec, resource, find):
            title = f"{resource.api_version}, Kind={resource.kind}"
            found.setdefault(field, []).append(f"{title}: {report}\n")
    return [{"fieldRef": field, "warning": "\n".join(reports)} for field, reports in found.items()]


def _resources(spec: Obj, find: Find) -> list[Resource]:
    """The kinds the policy names, without those behind an asterisk."""
    found: dict[Resource, None] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        named = (rule.get("apiGroups") or (), rule.get("apiVersions") or (), rule.get("resources") or ())
        for group, version, plural in product(*named):
            resource = find(group, version, plural)
            if resource is not None:
                found[resource] = None
    return list(found)[:MOST_KINDS]


def _problems(spec: Obj, resource: Resource, find: Find) -> Iterator[tuple[str, str]]:
    kind = _declared(resource)
    if kind is None:
        return
    messages = joined(variables.messages(), kind.messages)
    declared = variables.declarations(params=bool(spec.get("paramKind")), authorizer=True)
    declared |= {"object": kind.type, "oldObject": kind.type}
    named = {f"variables.{entry.get('name')}": entry.get("expression") or "" for entry in spec.get("variables") or ()}
    # Two environments, as making one is dear: what variables read of each other is not looked into.
    environment = Environment({**declared, **dict.fromkeys(named, types.DYN)}, messages)
    results: dict[str, Type] = {}
    for index, (name, text) in enumerate(named.items()):
        try:
            results[name] = environment.compile(text).result
        except CompileError as error:
            results[name] = types.DYN
            yield f"spec.variables[{index}].expression", str(error)
    if results:
        environment = Environment({**declared, **results}, messages)
    for index, entry in enumerate(spec.get("validations") or ()):
        for key in ("expression", "messageExpression"):
            report = _report(entry.get(key) or "", environment)
            if report:
                yield f"spec.validations[{index}].{key}", report


def _report(text: str, environment: Environment) -> str:
    if not text:
        return ""
    try:
        environment.compile(text)
    except CompileError as error:
        return str(error)
    return ""


@lru_cache(maxsize=16)
def _declared(resource: Resource) -> Declared | None:
    """The type of a kind's objects, None when its schema is not published."""
    try:
        root = schema_for(resource.group, resource.version, resource.kind).root
    except UnknownKind:
        return None
    return declare(_openapi(root, frozenset()), resource.kind)


_ANYTHING: Obj = {"x-kubernetes-int-or-string": True}


def _openapi(node: Node, above: frozenset[str]) -> Obj:
    """A published shape as a schema that types are made from; one within itself may be anything."""
    if node.definition and node.definition in above:
        return _ANYTHING
    inside = above | {node.definition} if node.definition else above
    if node.type == "object" and node.properties:
        fields = {name: _openapi(field, inside) for name, field in node.properties.items()}
        return {"type": "object", "properties": fields}
    if node.type == "map":
        return {"type": "object", "additionalProperties": _openapi(node.items, inside)}
    if node.type == "array":
        return {"type": "array", "items": _openapi(node.items, inside)}
    if node.type in ("string", "integer", "number", "boolean"):
        return {"type": node.type, "format": node.format}
    return {"type": "string"} if node.type == "quantity" else _ANYTHING
