"""What the documents are made from: the resources served, with their verbs and subresources."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.apiserver.openapi.custom import custom_name
from pilothouse.apiserver.openapi.definitions import name_of
from pilothouse.machinery.objects import Resource
from pilothouse.machinery.schema import GroupVersionKind


@dataclass(frozen=True, slots=True)
class ServedSubresource:
    """A subresource; `kind` is that of its body, None when it is the resource's own."""

    name: str
    verbs: frozenset[str]
    kind: GroupVersionKind | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A resource with the verbs discovery shows for it."""

    resource: Resource
    verbs: frozenset[str]
    subresources: tuple[ServedSubresource, ...] = ()
    schema: memoryview | None = None
    """Of a custom resource: its own schema, as JSON."""
    list_kind: str = ""
    returns_deleted: bool = False

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.resource.group, self.resource.version, self.resource.kind)

    @property
    def list_gvk(self) -> GroupVersionKind:
        return self.gvk._replace(kind=self.list_kind or f"{self.resource.kind}List")

    def type_name(self, gvk: GroupVersionKind) -> str | None:
        """The name of the type of this kind, its list or one of its subresources; None when nothing is published."""
        return custom_name(gvk) if self.schema and gvk in (self.gvk, self.list_gvk) else name_of(gvk)

    @property
    def group_path(self) -> str:
        """`api/v1` or `apis/GROUP/VERSION`, as the documents are keyed."""
        return f"apis/{self.resource.group}/{self.resource.version}" if self.resource.group else "api/v1"
