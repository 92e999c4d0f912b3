"""ValidatingAdmissionPolicy."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.admissionregistration.policy_rules import check_policy, default_policy
from pilothouse.kinds.columns import AGE, NAME, UNSET, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Obj, Resource


class ValidatingAdmissionPolicy(Object):
    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False
    )


def _param_kind(obj: Obj) -> str:
    """`v1/ConfigMap`."""
    found = section(section(obj, "spec"), "paramKind")
    return f"{found.get('apiVersion', '')}/{found.get('kind', '')}" if found else UNSET


KIND = Kind(
    view=ValidatingAdmissionPolicy,
    categories=("api-extensions",),
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column(
            "Validations",
            lambda obj: len(section(obj, "spec").get("validations") or ()),
            "Rules in it.",
            type="integer",
        ),
        Column("ParamKind", _param_kind, "Kind of its parameters."),
        AGE,
    ),
    generation_fields=("spec",),
    defaults=default_policy,
    rules=check_policy,
)
