"""Typed views: the fields of an object that Pilothouse reads, decoded straight from stored bytes.

A view names fewer fields than the object has, so it is never written back whole: writers send a patch
of what they change, or create a new object (see `pilothouse.client`). Field names are the API's in
snake case, with its acronyms in lower case: `podIP` is `pod_ip`, `containerID` is `container_id`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from pilothouse.machinery.objects import Obj, Resource

_ACRONYMS = {
    "ip": "IP",
    "ips": "IPs",
    "cidr": "CIDR",
    "cidrs": "CIDRs",
    "id": "ID",
    "pid": "PID",
    "ipc": "IPC",
    "uuid": "UUID",
    "uri": "URI",
    "url": "URL",
    "urls": "URLs",
    "api": "API",
    "fqdn": "FQDN",
}
_WORD = re.compile(r"_([a-z0-9]+)")


def api_name(field: str) -> str:
    """The JSON name of a view's field: `host_ip` is `hostIP`, `run_as_user` is `runAsUser`."""
    return _WORD.sub(lambda m: _ACRONYMS.get(m[1], m[1].capitalize()), field.rstrip("_"))


class View(msgspec.Struct, rename=api_name, omit_defaults=True, kw_only=True, gc=False):
    """Base of every typed view; unknown fields are ignored when decoding, defaults left out when encoding."""


class OwnerReference(View):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(View):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    generate_name: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []


class LabelSelectorRequirement(View):
    key: str
    operator: str
    values: list[str] = []


class LabelSelector(View):
    match_labels: dict[str, str] = {}
    match_expressions: list[LabelSelectorRequirement] = []


class Condition(View):
    """A condition of any kind's status; times are RFC 3339. Whoever may write a status may leave anything out."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    last_update_time: str | None = None
    last_probe_time: str | None = None
    last_heartbeat_time: str | None = None
    observed_generation: int | None = None


class Object(View):
    """Base of a view of a whole object; subclasses set `resource`."""

    resource: ClassVar[Resource]
    whole: ClassVar[bool] = False
    """Whether `received` is called."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)

    def received(self, document: bytes) -> None:
        """Given the whole document that the view was decoded from, for components that read more than views name."""

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` outside namespaces."""
        meta = self.metadata
        return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    def controller(self) -> OwnerReference | None:
        """The owner reference with `controller: true`, if there is one."""
        return next((ref for ref in self.metadata.owner_references if ref.controller), None)

    def as_owner(self) -> OwnerReference:
        """A controlling owner reference to this object."""
        return OwnerReference(
            api_version=self.resource.api_version,
            kind=self.resource.kind,
            name=self.metadata.name,
            uid=self.metadata.uid,
            controller=True,
            block_owner_deletion=True,
        )


def to_tree(view: View) -> Obj:
    """The JSON tree of a view, `apiVersion` and `kind` filled in for whole objects."""
    tree: Obj = msgspec.to_builtins(view)
    if isinstance(view, Object):
        tree = {
            **tree,
            "apiVersion": view.resource.api_version,
            "kind": view.resource.kind,
        }
    return tree


def from_tree(cls: type[Any], tree: Obj) -> Any:
    """The view `cls` of a JSON tree. Raises msgspec.ValidationError naming the field that does not fit."""
    return msgspec.convert(tree, cls)
