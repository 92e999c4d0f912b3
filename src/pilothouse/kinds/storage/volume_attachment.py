"""VolumeAttachment."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import AGE, NAME, Column, field
from pilothouse.kinds.core.csi_volume import check_driver_name
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class VolumeAttachmentSource(View):
    persistent_volume_name: str | None = None


class VolumeAttachmentSpec(View):
    attacher: str = ""
    node_name: str = ""
    source: VolumeAttachmentSource = msgspec.field(default_factory=VolumeAttachmentSource)


class VolumeError(View):
    message: str = ""
    time: str | None = None


class VolumeAttachmentStatus(View):
    attached: bool = False
    attachment_metadata: dict[str, str] = {}
    attach_error: VolumeError | None = None
    detach_error: VolumeError | None = None


class VolumeAttachment(Object):
    resource: ClassVar[Resource] = Resource("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", False)

    spec: VolumeAttachmentSpec = msgspec.field(default_factory=VolumeAttachmentSpec)
    status: VolumeAttachmentStatus = msgspec.field(default_factory=VolumeAttachmentStatus)


_METADATA_MOST = 256 << 10
_MESSAGE_MOST = 1024
_EXACTLY_ONE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Source: `ValidateVolumeAttachment`, `ValidateVolumeAttachmentV1` and `ValidateVolumeAttachmentUpdate` of
    Kubernetes' storage validation."""
    spec, status = section(obj, "spec"), section(obj, "status")
    attacher = spec.get("attacher") or ""
    if old is None:
        check_driver_name(attacher, "spec.attacher", problems)
    elif not attacher:
        problems.required("spec.attacher")
    _check_source(section(spec, "source"), problems)
    node = spec.get("nodeName") or ""
    problems.invalid_each("spec.nodeName", node, names.dns1123_subdomain(node))
    metadata = section(status, "attachmentMetadata")
    if sum(len(key) + len(value) for key, value in metadata.items()) > _METADATA_MOST:
        problems.too_long("status.attachmentMetadata", _METADATA_MOST)
    for key in ("attachError", "detachError"):
        if len(section(status, key).get("message") or "") > _MESSAGE_MOST:
            problems.too_long(f"status.{key}.message", _METADATA_MOST)
        code = section(status, key).get("errorCode")
        if code is not None and code < 0:
            problems.invalid(f"status.{key}.errorCode", code, "must be between 0 and 2147483647, inclusive")
    if old is not None:
        problems.immutable("spec", spec, section(old, "spec"))


def _check_source(source: Obj, problems: Problems) -> None:
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if name is None and inline is None:
        problems.required("spec.source", _EXACTLY_ONE)
    elif name is not None and inline is not None:
        problems.forbidden("spec.source", _EXACTLY_ONE)
    elif name is not None:
        if not name:
            problems.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
        else:
            problems.invalid_each("spec.source.persistentVolumeName", name, names.dns1123_subdomain(name))
    else:
        problems.forbidden("spec.source.inlineVolumeSpec", "only volumes of a PersistentVolume are attached; name it")


KIND = Kind(
    view=VolumeAttachment,
    subresources=frozenset({"status"}),
    rules=_rules,
    columns=(
        NAME,
        Column("Attacher", field("spec", "attacher"), "Driver that attaches.", format="name"),
        Column("PV", field("spec", "source", "persistentVolumeName"), "Volume to attach."),
        Column("Node", field("spec", "nodeName"), "Node to attach it to."),
        Column("Attached", field("status", "attached", default=False), "Whether it is attached.", type="boolean"),
        AGE,
    ),
    returns_deleted=True,
)
