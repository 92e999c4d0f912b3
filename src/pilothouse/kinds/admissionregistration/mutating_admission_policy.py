"""MutatingAdmissionPolicy, beta in Kubernetes 1.35."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.admissionregistration.mutation_rules import check_policy, default_policy
from pilothouse.kinds.admissionregistration.validating_admission_policy import PARAM_KIND
from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class MutatingAdmissionPolicy(Object):
    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io", "v1beta1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", False
    )


KIND = Kind(
    view=MutatingAdmissionPolicy,
    categories=("api-extensions",),
    columns=(
        NAME,
        Column(
            "Mutations", lambda obj: len(section(obj, "spec").get("mutations") or ()), "Changes in it.", type="integer"
        ),
        PARAM_KIND,
        AGE,
    ),
    generation_fields=("spec",),
    defaults=default_policy,
    rules=check_policy,
    bare_finalizers=True,
)
