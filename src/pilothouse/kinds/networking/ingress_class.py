"""IngressClass."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


class IngressClassSpec(View):
    controller: str = ""


class IngressClass(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False)

    spec: IngressClassSpec = msgspec.field(default_factory=IngressClassSpec)


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    controller = section(obj, "spec").get("controller") or ""
    if old is not None:
        problems.immutable("spec.controller", controller, section(old, "spec").get("controller") or "")
    elif not controller:
        problems.required("spec.controller")
    else:
        problems.invalid_each("spec.controller", controller, names.label_key(controller))


def _parameters(obj: Obj) -> str:
    """`Kind.group/name` of the parameters."""
    found = section(section(obj, "spec"), "parameters")
    if not found:
        return NONE
    kind = f"{found.get('kind', '')}.{found['apiGroup']}" if found.get("apiGroup") else str(found.get("kind", ""))
    return f"{kind}/{found.get('name', '')}"


KIND = Kind(
    view=IngressClass,
    columns=(
        NAME,
        Column("Controller", field("spec", "controller"), "Who serves Ingresses of the class."),
        Column("Parameters", _parameters, "Object with the class's parameters."),
        AGE,
    ),
    generation_fields=("spec",),
    rules=_rules,
)
