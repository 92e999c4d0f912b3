"""FlowSchema.

Source of the rules and their wording: upstream's flowcontrol validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Obj, Resource

_EXEMPT, _ALL = "exempt", "*"
_DEFAULT_PRECEDENCE, _LAST_PRECEDENCE = 1000, 10000
_SUBJECTS: Final = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}


class PriorityLevelConfigurationReference(View):
    name: str = ""


class FlowSchemaSpec(View):
    priority_level_configuration: PriorityLevelConfigurationReference = msgspec.field(
        default_factory=PriorityLevelConfigurationReference
    )


class FlowSchemaStatus(View):
    conditions: list[Condition] = []


class FlowSchema(Object):
    resource: ClassVar[Resource] = Resource("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", False)

    spec: FlowSchemaSpec = msgspec.field(default_factory=FlowSchemaSpec)
    status: FlowSchemaStatus = msgspec.field(default_factory=FlowSchemaStatus)


def _missing_level(obj: Obj) -> str:
    conditions = section(obj, "status").get("conditions") or ()
    return next((str(entry.get("status", "")) for entry in conditions if entry.get("type") == "Dangling"), "?")


def _defaults(obj: Obj) -> None:
    spec = obj.get("spec")
    if isinstance(spec, dict) and not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = _DEFAULT_PRECEDENCE


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(obj, "spec")
    precedence = spec.get("matchingPrecedence")
    if not 1 <= (precedence or 0) <= _LAST_PRECEDENCE:
        problems.invalid(
            "spec.matchingPrecedence", precedence, f"must be a value between 1 and {_LAST_PRECEDENCE}, inclusive"
        )
    elif precedence == 1 and (obj.get("metadata") or {}).get("name") != _EXEMPT:
        problems.invalid("spec.matchingPrecedence", 1, "only the schema named 'exempt' may have matchingPrecedence 1")
    if not section(spec, "priorityLevelConfiguration").get("name"):
        problems.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    if "distinguisherMethod" in spec:
        kind = section(spec, "distinguisherMethod").get("type")
        problems.one_of("spec.distinguisherMethod.type", kind, ("ByNamespace", "ByUser"))
    for index, rule in enumerate(spec.get("rules") or ()):
        _check_rule(rule, f"spec.rules[{index}]", problems)


def _check_rule(rule: Obj, path: str, problems: Problems) -> None:
    if not rule.get("subjects"):
        problems.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(rule.get("subjects") or ()):
        _check_subject(subject, f"{path}.subjects[{index}]", problems)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        problems.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, entry in enumerate(rule.get("resourceRules") or ()):
        where = f"{path}.resourceRules[{index}]"
        for key in ("verbs", "apiGroups", "resources"):
            _check_list(entry.get(key), f"{where}.{key}", problems)
        if entry.get("namespaces"):
            _check_list(entry["namespaces"], f"{where}.namespaces", problems)
        elif not entry.get("clusterScope"):
            problems.required(
                f"{where}.namespaces", "resource rules that are not cluster scoped must supply at least one"
            )
    for index, entry in enumerate(rule.get("nonResourceRules") or ()):
        for key in ("verbs", "nonResourceURLs"):
            _check_list(entry.get(key), f"{path}.nonResourceRules[{index}].{key}", problems)


def _check_subject(subject: Obj, path: str, problems: Problems) -> None:
    kind = subject.get("kind")
    problems.one_of(f"{path}.kind", kind, tuple(_SUBJECTS))
    member = _SUBJECTS.get(str(kind))
    if member is None:
        return
    for other in _SUBJECTS.values():
        if other != member and other in subject:
            problems.forbidden(f"{path}.{other}", f"{other} is forbidden when subject kind is not {other!r}")
    told = section(subject, member)
    for key in ("namespace", "name") if member == "serviceAccount" else ("name",):
        if not told.get(key):
            problems.required(f"{path}.{member}.{key}")


def _check_list(values: Sequence[str] | None, path: str, problems: Problems) -> None:
    if not values:
        problems.required(path)
    elif _ALL in values and len(values) > 1:
        problems.invalid(path, list(values), "if '*' is present, must not specify other values")


KIND = Kind(
    view=FlowSchema,
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("PriorityLevel", field("spec", "priorityLevelConfiguration", "name"), "Level of its requests."),
        Column("MatchingPrecedence", field("spec", "matchingPrecedence", default=0), "Order among schemas."),
        Column("DistinguisherMethod", field("spec", "distinguisherMethod", "type", default=NONE), "What parts flows."),
        AGE,
        Column("MissingPL", _missing_level, "Whether its level is missing."),
    ),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=_rules,
)
