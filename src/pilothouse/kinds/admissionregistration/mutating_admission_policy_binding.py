"""MutatingAdmissionPolicyBinding, beta in Kubernetes 1.35."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.admissionregistration.binding_rules import default_binding
from pilothouse.kinds.admissionregistration.mutation_rules import check_binding
from pilothouse.kinds.admissionregistration.validating_admission_policy_binding import BINDING_COLUMNS
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class MutatingAdmissionPolicyBinding(Object):
    resource: ClassVar[Resource] = Resource(
        "admissionregistration.k8s.io",
        "v1beta1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        False,
    )


KIND = Kind(
    view=MutatingAdmissionPolicyBinding,
    categories=("api-extensions",),
    columns=BINDING_COLUMNS,
    generation_fields=("spec",),
    defaults=default_binding,
    rules=check_binding,
    bare_finalizers=True,
)
