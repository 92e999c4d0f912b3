"""Defaults and rules of a MutatingAdmissionPolicy.

Source of messages: Kubernetes' `pkg/apis/admissionregistration/validation`.
"""

from __future__ import annotations

from pilothouse.kinds.admissionregistration.binding_rules import check_common_binding
from pilothouse.kinds.admissionregistration.policy_rules import check_common, default_policy
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery.objects import Obj

__all__ = ["check_binding", "check_policy", "default_policy"]

_PARTS = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
"""Where a patch of a type has its expression."""
_OPERATIONS = ("*", "CONNECT", "CREATE", "UPDATE")
"""Not DELETE, which has no object that can be changed; `*` does not mean it either."""
_REINVOCATION = ("IfNeeded", "Never")


def check_policy(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """The whole specification, but for what its expressions say."""
    spec = section(obj, "spec")
    check_common(spec, problems)
    _check_operations(spec, "matchConstraints", problems)
    mutations = spec.get("mutations") or ()
    if not mutations:
        problems.required("spec.mutations", "mutations must contain at least one item")
    for index, entry in enumerate(mutations):
        _check_mutation(entry, f"spec.mutations[{index}]", problems)
    problems.one_of("spec.reinvocationPolicy", spec.get("reinvocationPolicy"), _REINVOCATION)


def check_binding(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """The whole specification of a binding."""
    check_common_binding(obj, old, problems)
    _check_operations(section(obj, "spec"), "matchResources", problems)


def _check_operations(spec: Obj, key: str, problems: Problems) -> None:
    for rule in section(spec, key).get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            if operation not in _OPERATIONS:
                problems.unsupported(f"spec.{key}.resourceRules.operations", operation, _OPERATIONS)


def _check_mutation(entry: Obj, path: str, problems: Problems) -> None:
    kind = entry.get("patchType")
    problems.one_of(f"{path}.patchType", kind, tuple(_PARTS))
    for known, part in _PARTS.items():
        given = entry.get(part)
        if known != kind:
            if given is not None and kind in _PARTS:
                problems.invalid(f"{path}.{part}", f"{{{part}}}", f"must not be specified when patchType is {kind}")
        elif given is None:
            problems.required(f"{path}.{part}", f"must be specified when patchType is {kind}")
        elif not (given.get("expression") or "").strip():
            problems.required(f"{path}.{part}.expression")
