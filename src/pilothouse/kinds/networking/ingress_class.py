"""IngressClass."""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource

_LONGEST_CONTROLLER = 250
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_SCOPES = ("Cluster", "Namespace")
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
    _check_controller(controller, problems)
    parameters = section(obj, "spec").get("parameters")
    if parameters is not None:
        _check_parameters(parameters, problems)


def _check_controller(controller: str, problems: Problems) -> None:
    path = "spec.controller"
    if len(controller) > _LONGEST_CONTROLLER:
        problems.too_long(path, _LONGEST_CONTROLLER)
    domain, _, rest = controller.partition("/")
    if not controller:
        problems.required(path)
    elif not domain or not rest:
        problems.invalid(path, controller, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        problems.invalid_each(path, domain, names.dns1123_subdomain(domain))
        if re.fullmatch(_HTTP_PATH, rest) is None:
            problems.invalid(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH}')")


def _check_parameters(found: Obj, problems: Problems) -> None:
    path, namespace = "spec.parameters", found.get("namespace")
    if found.get("apiGroup") is not None:
        problems.invalid_each(f"{path}.apiGroup", found["apiGroup"], names.dns1123_subdomain(found["apiGroup"]))
    for key in ("kind", "name"):
        if found.get(key):
            problems.invalid_each(f"{path}.{key}", found[key], names.path_segment(found[key]))
        else:
            problems.required(f"{path}.{key}")
    scope = found.get("scope")
    if scope not in _SCOPES:
        problems.unsupported(f"{path}.scope", scope, _SCOPES)
    elif scope == "Cluster" and namespace is not None:
        problems.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")
    elif scope == "Namespace" and namespace is None:
        problems.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    elif namespace is not None:
        problems.invalid_each(f"{path}.namespace", namespace, names.dns1123_label(namespace))


def _defaults(obj: Obj) -> None:
    parameters = section(obj, "spec").get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


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
    defaults=_defaults,
    rules=_rules,
)
