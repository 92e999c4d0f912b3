"""IngressClass."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class IngressClass(Object):
    resource: ClassVar[Resource] = Resource("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False)


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
)
