"""ValidatingAdmissionPolicy."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from pilothouse.kinds.admissionregistration.policy_rules import check_policy, default_policy
from pilothouse.kinds.columns import AGE, NAME, UNSET, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class ValidatingAdmissionPolicyStatus(View):
    """`observed_generation` is the one whose types were checked last."""

    observed_generation: int = 0


class ValidatingAdmissionPolicy(Object):
    """`spec` is kept as a tree: rules for it are in `policy_rules`, its meaning in `policy/admission`."""

    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False
    )

    spec: dict[str, Any] = {}
    status: ValidatingAdmissionPolicyStatus = msgspec.field(default_factory=ValidatingAdmissionPolicyStatus)


def _param_kind(obj: Obj) -> str:
    """`v1/ConfigMap`."""
    found = section(section(obj, "spec"), "paramKind")
    return f"{found.get('apiVersion', '')}/{found.get('kind', '')}" if found else UNSET


PARAM_KIND = Column("ParamKind", _param_kind, "Kind of its parameters.")

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
        PARAM_KIND,
        AGE,
    ),
    generation_fields=("spec",),
    defaults=default_policy,
    rules=check_policy,
    bare_finalizers=True,
)
