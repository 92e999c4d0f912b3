"""Defaults and rules of a ValidatingAdmissionPolicy, and those it shares with mutating ones.

Source of messages: Kubernetes' `pkg/apis/admissionregistration/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pilothouse.kinds.admissionregistration.rules import (
    FAILURE_POLICIES,
    check_conditions,
    check_match_resources,
    default_match_resources,
)
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MOST_ANNOTATIONS = 20
_LONGEST_ANNOTATION = 5 * 1024
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_WORDS = """true false null in as break const continue else for function if import let loop package namespace return
var void while"""
_RESERVED = frozenset(_WORDS.split())
_ONE_OF = "validations or auditAnnotations must contain at least one item"


def default_policy(obj: Obj) -> None:
    """Errors count against the request, unless the policy says otherwise."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    default_match_resources(spec.get("matchConstraints"))


def check_policy(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """The whole specification, but for what its expressions say."""
    spec = section(obj, "spec")
    check_common(spec, problems)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        problems.required("spec.validations", _ONE_OF)
        problems.required("spec.auditAnnotations", _ONE_OF)
    for index, entry in enumerate(validations):
        _check_validation(entry, f"spec.validations[{index}]", problems)
    _check_annotations(annotations, (obj.get("metadata") or {}).get("name") or "", problems)


def check_common(spec: Obj, problems: Problems) -> None:
    """What every policy says: its parameters, which requests it means, its variables."""
    problems.one_of("spec.failurePolicy", spec.get("failurePolicy"), FAILURE_POLICIES)
    if spec.get("paramKind"):
        _check_param_kind(spec["paramKind"], problems)
    constraints = spec.get("matchConstraints")
    if constraints is None:
        problems.required("spec.matchConstraints")
    else:
        check_match_resources(constraints, "spec.matchConstraints", problems)
        if not constraints.get("resourceRules"):
            problems.required("spec.matchConstraints.resourceRules")
    check_conditions(spec.get("matchConditions") or (), "spec.matchConditions", problems)
    _check_variables(spec.get("variables") or (), problems)


def _check_param_kind(kind: Obj, problems: Problems) -> None:
    version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    path = "spec.paramKind.apiVersion"
    if not version:
        problems.required(path)
    elif version.count("/") > 1:
        problems.invalid(path, version, f"unexpected GroupVersion string: {version}")
    else:
        group, _, short = version.rpartition("/")
        if group and (wrong := names.dns1123_subdomain(group)):
            problems.invalid(path, group, ",".join(wrong))
        if not short:
            problems.invalid(path, version, "version must be specified")
        elif wrong := names.dns1035_label(short):
            problems.invalid(path, short, ",".join(wrong))
    if not name:
        problems.required("spec.paramKind.kind")
    elif wrong := names.dns1035_label(name.lower()):
        reason = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
        problems.invalid("spec.paramKind.kind", name, reason)


def _check_variables(variables: Sequence[Obj], problems: Problems) -> None:
    for index, entry in enumerate(variables):
        path, name = f"spec.variables[{index}]", entry.get("name") or ""
        if not name.strip():
            problems.required(f"{path}.name", "name is not specified")
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            problems.invalid(f"{path}.name", name, "name is not a valid CEL identifier")
        if not (entry.get("expression") or "").strip():
            problems.required(f"{path}.expression", "expression is not specified")


def _check_validation(entry: Obj, path: str, problems: Problems) -> None:
    message, telling = entry.get("message") or "", entry.get("messageExpression") or ""
    if not (entry.get("expression") or "").strip():
        problems.required(f"{path}.expression", "expression is not specified")
    if telling and not telling.strip():
        problems.invalid(f"{path}.messageExpression", telling, "must be non-empty if specified")
    if message and not message.strip():
        problems.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip() or "\r" in message.strip():
        problems.invalid(f"{path}.message", message, "message must not contain line breaks")
    if entry.get("reason") is not None and entry["reason"] not in _REASONS:
        problems.unsupported(f"{path}.reason", entry["reason"], _REASONS)


def _check_annotations(annotations: Sequence[Obj], name: str, problems: Problems) -> None:
    if len(annotations) > _MOST_ANNOTATIONS:
        reason = f"must not have more than {_MOST_ANNOTATIONS} auditAnnotations"
        problems.invalid("spec.auditAnnotations", annotations, reason)
    seen: set[str] = set()
    for index, entry in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{index}]", entry.get("key") or ""
        if not name:
            problems.invalid(f"{path}.key", key, "requires metadata.name be non-empty")
        else:
            problems.invalid_each(f"{path}.key", f"{name}/{key}", names.label_key(f"{name}/{key}"))
        text = (entry.get("valueExpression") or "").strip()
        if not text:
            problems.required(f"{path}.valueExpression", "valueExpression is not specified")
        elif len(text) > _LONGEST_ANNOTATION:
            problems.required(f"{path}.valueExpression", f"must not exceed {_LONGEST_ANNOTATION} bytes in length")
        if key in seen:
            problems.duplicate(f"{path}.key", key)
        seen.add(key)
