"""RoleBinding and ClusterRoleBinding."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.rbac.role import GROUP
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class Subject(View):
    kind: str = ""
    api_group: str = ""
    name: str = ""
    namespace: str = ""


class RoleRef(View):
    api_group: str = ""
    kind: str = ""
    name: str = ""


class RoleBinding(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "RoleBinding", "rolebindings", True)

    subjects: list[Subject] = []
    role_ref: RoleRef = msgspec.field(default_factory=RoleRef)


class ClusterRoleBinding(Object):
    resource: ClassVar[Resource] = Resource(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings", False)

    subjects: list[Subject] = []
    role_ref: RoleRef = msgspec.field(default_factory=RoleRef)


_SUBJECTS = ["ServiceAccount", "User", "Group"]


def _defaults(obj: Obj) -> None:
    reference = obj.setdefault("roleRef", {})
    reference["apiGroup"] = reference.get("apiGroup") or GROUP
    for subject in obj.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("Group", "User"):
            subject["apiGroup"] = GROUP


def _check(obj: Obj, old: Obj | None, kinds: tuple[str, ...], problems: Problems) -> None:
    namespaced = "Role" in kinds
    reference = section(obj, "roleRef")
    if reference.get("apiGroup") != GROUP:
        problems.unsupported("roleRef.apiGroup", reference.get("apiGroup"), (GROUP,))
    if reference.get("kind") not in kinds:
        problems.unsupported("roleRef.kind", reference.get("kind") or "", [*kinds[::-1]])
    name = reference.get("name") or ""
    if not name:
        problems.required("roleRef.name")
    else:
        problems.invalid_each("roleRef.name", name, names.path_segment(name))
    for index, subject in enumerate(obj.get("subjects") or ()):
        _check_subject(subject, f"subjects[{index}]", namespaced, problems)
    if old is not None and reference != section(old, "roleRef"):
        problems.invalid("roleRef", reference, "cannot change roleRef")


def _check_subject(subject: Obj, path: str, namespaced: bool, problems: Problems) -> None:
    kind, group, name = subject.get("kind") or "", subject.get("apiGroup") or "", subject.get("name") or ""
    if not name:
        problems.required(f"{path}.name")
    if kind not in _SUBJECTS:
        problems.unsupported(f"{path}.kind", kind, _SUBJECTS)
    elif kind == "ServiceAccount":
        if name:
            problems.invalid_each(f"{path}.name", name, names.dns1123_subdomain(name))
        if group:
            problems.unsupported(f"{path}.apiGroup", group, ("",))
        # An account without a namespace is one of the binding's.
        if not namespaced and not subject.get("namespace"):
            problems.required(f"{path}.namespace")
    elif group != GROUP:
        problems.unsupported(f"{path}.apiGroup", group, (GROUP,))


def _role_binding_rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    _check(obj, old, ("ClusterRole", "Role"), problems)


def _cluster_role_binding_rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    _check(obj, old, ("ClusterRole",), problems)


def _role(obj: Obj) -> str:
    reference = section(obj, "roleRef")
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _subjects(kind: str, obj: Obj) -> str:
    def text(subject: Obj) -> str:
        name = str(subject.get("name", ""))
        return f"{subject.get('namespace', '')}/{name}" if kind == "ServiceAccount" else name

    return ", ".join(text(subject) for subject in obj.get("subjects") or () if subject.get("kind") == kind)


_COLUMNS = (
    NAME,
    Column("Role", _role, "Role that is granted."),
    AGE,
    Column("Users", lambda obj: _subjects("User", obj), "Users it is granted to.", priority=1),
    Column("Groups", lambda obj: _subjects("Group", obj), "Groups it is granted to.", priority=1),
    Column(
        "ServiceAccounts",
        lambda obj: _subjects("ServiceAccount", obj),
        "Service accounts it is granted to.",
        priority=1,
    ),
)

ROLE_BINDING = Kind(
    view=RoleBinding,
    columns=_COLUMNS,
    name_rule=names.path_segment,
    defaults=_defaults,
    rules=_role_binding_rules,
    create_on_update=True,
)
CLUSTER_ROLE_BINDING = Kind(
    view=ClusterRoleBinding,
    columns=_COLUMNS,
    name_rule=names.path_segment,
    defaults=_defaults,
    rules=_cluster_role_binding_rules,
    create_on_update=True,
)
