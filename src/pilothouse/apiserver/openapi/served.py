"""What the documents are made from: the resources served, with their verbs and subresources."""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.resource.group, self.resource.version, self.resource.kind)

    @property
    def group_path(self) -> str:
        """`api/v1` or `apis/GROUP/VERSION`, as the documents are keyed."""
        return f"apis/{self.resource.group}/{self.resource.version}" if self.resource.group else "api/v1"
