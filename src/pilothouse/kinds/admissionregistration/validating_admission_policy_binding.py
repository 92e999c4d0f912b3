"""ValidatingAdmissionPolicyBinding."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.admissionregistration.binding_rules import check_binding, default_binding
from pilothouse.kinds.columns import AGE, NAME, UNSET, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ValidatingAdmissionPolicyBinding(Object):
    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        False,
    )


def _param_ref(obj: Obj) -> str:
    """`namespace/name` of the parameters, or `*` for those a selector finds."""
    found = section(section(obj, "spec"), "paramRef")
    if not found:
        return UNSET
    name = found.get("name") or "*"
    return f"{found['namespace']}/{name}" if found.get("namespace") else str(name)


BINDING_COLUMNS = (
    NAME,
    Column("PolicyName", field("spec", "policyName"), "Policy that is bound."),
    Column("ParamRef", _param_ref, "Its parameters."),
    AGE,
)

KIND = Kind(
    view=ValidatingAdmissionPolicyBinding,
    categories=("api-extensions",),
    columns=BINDING_COLUMNS,
    generation_fields=("spec",),
    defaults=default_binding,
    rules=check_binding,
    bare_finalizers=True,
)
