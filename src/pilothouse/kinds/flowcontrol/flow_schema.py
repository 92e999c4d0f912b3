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
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource

_EXEMPT, _ALL = "exempt", "*"
_DEFAULT_PRECEDENCE, _LAST_PRECEDENCE = 1000, 10000
_SUBJECTS: Final = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_METHODS = ("ByNamespace", "ByUser")
_VERBS = frozenset({"get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy"})
_NAMESPACES = "each member of this list must be '*' or a DNS-1123 label; "


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
    precedence = spec.get("matchingPrecedence") or 0
    path = "spec.matchingPrecedence"
    if precedence <= 0:
        problems.invalid(path, precedence, "must be a positive value")
    if precedence > _LAST_PRECEDENCE:
        problems.invalid(path, precedence, f"must not be greater than {_LAST_PRECEDENCE}")
    if precedence == 1 and (obj.get("metadata") or {}).get("name") != _EXEMPT:
        problems.invalid(path, 1, "only the schema named 'exempt' may have matchingPrecedence 1")
    if "distinguisherMethod" in spec:
        method = section(spec, "distinguisherMethod")
        if method.get("type") not in _METHODS:
            problems.unsupported("spec.distinguisherMethod.type", {"type": method.get("type", "")}, _METHODS)
    level = section(spec, "priorityLevelConfiguration").get("name")
    if level:
        problems.invalid_each("spec.priorityLevelConfiguration.name", level, names.dns1123_subdomain(level))
    else:
        problems.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
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
        _check_resources(entry, f"{path}.resourceRules[{index}]", problems)
    for index, entry in enumerate(rule.get("nonResourceRules") or ()):
        _check_paths(entry, f"{path}.nonResourceRules[{index}]", problems)


def _check_resources(entry: Obj, path: str, problems: Problems) -> None:
    _check_verbs(entry, path, problems)
    groups, resources, namespaces = (entry.get(key) or [] for key in ("apiGroups", "resources", "namespaces"))
    if not groups:
        problems.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    _check_all(groups, f"{path}.apiGroups", "api groups", problems)
    if not resources:
        problems.required(f"{path}.resources", "resource rules must supply at least one resource")
    _check_all(resources, f"{path}.resources", "resources", problems)
    at = f"{path}.namespaces"
    if not namespaces and not entry.get("clusterScope"):
        problems.required(at, "resource rules that are not cluster scoped must supply at least one namespace")
    elif not _check_all(namespaces, at, "namespaces", problems):
        for index, namespace in enumerate(namespaces):
            messages = names.dns1123_label(namespace)
            problems.invalid_each(f"{at}[{index}]", namespace, [f"{_NAMESPACES}{message}" for message in messages])


def _check_paths(entry: Obj, path: str, problems: Problems) -> None:
    _check_verbs(entry, path, problems)
    at, urls = f"{path}.nonResourceURLs", entry.get("nonResourceURLs") or []
    if not urls:
        problems.required(at, "nonResourceURLs must contain at least one value")
    elif not _check_all(urls, at, "non-resource URLs", problems):
        for index, url in enumerate(urls):
            if wrong := _wrong_with(url):
                problems.invalid(f"{at}[{index}]", url, wrong)


def _wrong_with(url: str) -> str:
    """Why a path of a rule is none. Source: `ValidateNonResourceURLPath`."""
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count(_ALL)
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not url.endswith("/*")) else ""


def _check_verbs(entry: Obj, path: str, problems: Problems) -> None:
    verbs = entry.get("verbs") or []
    if not verbs:
        problems.required(f"{path}.verbs", "verbs must contain at least one value")
    elif not _check_all(verbs, f"{path}.verbs", "verbs", problems) and not _VERBS.issuperset(verbs):
        problems.unsupported(f"{path}.verbs", verbs, _VERBS)


def _check_all(values: Sequence[str], path: str, what: str, problems: Problems) -> bool:
    """Whether `*` is among them, which is to stand alone."""
    if _ALL in values and len(values) > 1:
        problems.invalid(path, list(values), f"if '*' is present, must not specify other {what}")
    return _ALL in values


def _check_subject(subject: Obj, path: str, problems: Problems) -> None:
    kind = subject.get("kind") or ""
    member = _SUBJECTS.get(kind)
    if member is None:
        problems.unsupported(f"{path}.kind", kind, tuple(_SUBJECTS))
        return
    told = subject.get(member)
    if told is None:
        problems.required(f"{path}.{member}", f"{member} is required when subject kind is '{kind}'")
    else:
        _check_name(member, told, f"{path}.{member}", problems)
    for other_kind, other in _SUBJECTS.items():
        if other != member and other in subject:
            problems.forbidden(f"{path}.{other}", f"{other} is forbidden when subject kind is not '{other_kind}'")


def _check_name(member: str, told: Obj, path: str, problems: Problems) -> None:
    name, namespace = told.get("name") or "", told.get("namespace") or ""
    if not name:
        problems.required(f"{path}.name")
    if member != "serviceAccount":
        return
    if name and name != _ALL:
        problems.invalid_each(f"{path}.name", name, names.dns1123_subdomain(name))
    if namespace:
        problems.invalid_each(f"{path}.namespace", namespace, names.dns1123_label(namespace))
    else:
        problems.required(f"{path}.namespace", "must specify namespace for service account")


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
