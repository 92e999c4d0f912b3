"""Reads `ValidatingAdmissionPolicy` objects (admissionregistration.k8s.io/v1) into what evaluation needs.

Source of the fields and of their defaults: the Kubernetes API reference, ValidatingAdmissionPolicy v1. A field that is
not honoured here is refused by name, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilothouse.machinery.objects import Obj

API_VERSION = "admissionregistration.k8s.io/v1"
KIND = "ValidatingAdmissionPolicy"

_SPEC_FIELDS = frozenset(
    (
        "auditAnnotations",
        "failurePolicy",
        "matchConditions",
        "matchConstraints",
        "paramKind",
        "validations",
        "variables",
    )
)


class InvalidPolicy(ValueError):
    """The policy cannot be used; the message names it, the field and what is wrong."""


@dataclass(frozen=True, slots=True)
class Named:
    """A named expression: a variable, a match condition or an audit annotation."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Validation:
    """One rule: `expression` must be true."""

    expression: str
    message: str = ""
    message_expression: str = ""
    reason: str = "Invalid"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as written."""

    name: str
    annotations: Mapping[str, str]
    constraints: Obj
    conditions: tuple[Named, ...]
    variables: tuple[Named, ...]
    validations: tuple[Validation, ...]
    audit: tuple[Named, ...]
    fails_closed: bool
    """failurePolicy Fail (the default): an error counts against the object at admission."""
    param_kind: str
    """`apiVersion/Kind` of the parameters, "" for a policy without."""


def load_policy(tree: Obj) -> Policy:
    """The policy a tree describes. Raises InvalidPolicy."""
    name = (tree.get("metadata") or {}).get("name", "")
    if tree.get("apiVersion") != API_VERSION or tree.get("kind") != KIND:
        raise InvalidPolicy(f"{name or 'this object'}: is no {KIND} of {API_VERSION}")
    spec = _mapping(name, "spec", tree.get("spec"))
    unknown = sorted(set(spec) - _SPEC_FIELDS)
    if unknown:
        raise InvalidPolicy(f"{name}: unknown field spec.{unknown[0]}")
    failure = spec.get("failurePolicy", "Fail")
    if failure not in ("Fail", "Ignore"):
        raise InvalidPolicy(f"{name}: spec.failurePolicy is {failure!r}; use Fail or Ignore")
    validations = tuple(_validation(name, entry) for entry in spec.get("validations") or ())
    audit = _named(name, spec, "auditAnnotations", "key", "valueExpression")
    if not validations and not audit:
        raise InvalidPolicy(f"{name}: needs spec.validations or spec.auditAnnotations")
    kind = spec.get("paramKind") or {}
    return Policy(
        name=name,
        annotations=tree["metadata"].get("annotations") or {},
        constraints=_mapping(name, "spec.matchConstraints", spec.get("matchConstraints")),
        conditions=_named(name, spec, "matchConditions", "name", "expression"),
        variables=_named(name, spec, "variables", "name", "expression"),
        validations=validations,
        audit=audit,
        fails_closed=failure == "Fail",
        param_kind=f"{kind['apiVersion']}/{kind['kind']}" if kind else "",
    )


def _mapping(name: str, field: str, value: Any) -> Obj:
    if not isinstance(value, dict):
        raise InvalidPolicy(f"{name}: {field} is required")
    return value


def _named(policy: str, spec: Obj, field: str, name: str, expression: str) -> tuple[Named, ...]:
    found = []
    for index, entry in enumerate(spec.get(field) or ()):
        missing = [key for key in (name, expression) if not isinstance(entry.get(key), str)]
        if missing:
            raise InvalidPolicy(f"{policy}: spec.{field}[{index}].{missing[0]} is required")
        found.append(Named(entry[name], entry[expression]))
    names = [entry.name for entry in found]
    if len(set(names)) < len(names):
        raise InvalidPolicy(f"{policy}: spec.{field} names one {name} twice")
    return tuple(found)


def _validation(policy: str, entry: Obj) -> Validation:
    if not isinstance(entry.get("expression"), str):
        raise InvalidPolicy(f"{policy}: every one of spec.validations needs an expression")
    return Validation(
        entry["expression"],
        entry.get("message", ""),
        entry.get("messageExpression", ""),
        entry.get("reason", "Invalid"),
    )
