"""RoleBinding and ClusterRoleBinding."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.rbac.role import GROUP
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Resource


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
