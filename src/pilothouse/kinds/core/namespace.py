"""Namespace."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Resource


class NamespaceSpec(View):
    finalizers: list[str] = []


class NamespaceStatus(View):
    phase: str = ""
    conditions: list[Condition] = []


class Namespace(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Namespace", "namespaces", False)

    spec: NamespaceSpec = msgspec.field(default_factory=NamespaceSpec)
    status: NamespaceStatus = msgspec.field(default_factory=NamespaceStatus)
