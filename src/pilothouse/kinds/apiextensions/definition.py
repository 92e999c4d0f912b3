"""CustomResourceDefinition."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from pilothouse.kinds.apiextensions.definition_rules import check_definition
from pilothouse.kinds.columns import NAME, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import section
from pilothouse.kinds.view import Condition, Object, View
from pilothouse.machinery.objects import Obj, Resource, timestamp

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""Finalizer: a definition goes when its instances are gone."""


class CustomResourceDefinitionNames(View):
    plural: str = ""
    singular: str = ""
    short_names: list[str] = []
    kind: str = ""
    list_kind: str = ""
    categories: list[str] = []


class CustomResourceSubresourceScale(View):
    """JSON paths of what an `autoscaling/v1` Scale shows and sets."""

    spec_replicas_path: str = ""
    status_replicas_path: str = ""
    label_selector_path: str = ""


class CustomResourceSubresources(View):
    status: dict[str, Any] | None = None
    scale: CustomResourceSubresourceScale | None = None


class CustomResourceColumnDefinition(View):
    name: str = ""
    type: str = ""
    format: str = ""
    description: str = ""
    priority: int = 0
    json_path: str = ""


class SelectableField(View):
    json_path: str = ""


class CustomResourceDefinitionVersion(View):
    """Without its schema, which may be large and is needed by the API server only; see `schemas_of`."""

    name: str = ""
    served: bool = False
    storage: bool = False
    deprecated: bool = False
    deprecation_warning: str | None = None
    subresources: CustomResourceSubresources = msgspec.field(default_factory=CustomResourceSubresources)
    additional_printer_columns: list[CustomResourceColumnDefinition] = []
    selectable_fields: list[SelectableField] = []


class CustomResourceConversion(View):
    strategy: str = "None"
    webhook: dict[str, Any] | None = None


class CustomResourceDefinitionSpec(View):
    group: str = ""
    names: CustomResourceDefinitionNames = msgspec.field(default_factory=CustomResourceDefinitionNames)
    scope: str = ""
    versions: list[CustomResourceDefinitionVersion] = []
    conversion: CustomResourceConversion = msgspec.field(default_factory=CustomResourceConversion)
    preserve_unknown_fields: bool = False


class CustomResourceDefinitionStatus(View):
    conditions: list[Condition] = []
    accepted_names: CustomResourceDefinitionNames = msgspec.field(default_factory=CustomResourceDefinitionNames)
    stored_versions: list[str] = []


class CustomResourceDefinition(Object):
    resource: ClassVar[Resource] = Resource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False
    )

    spec: CustomResourceDefinitionSpec = msgspec.field(default_factory=CustomResourceDefinitionSpec)
    status: CustomResourceDefinitionStatus = msgspec.field(default_factory=CustomResourceDefinitionStatus)

    def has(self, condition: str) -> bool:
        """Whether a condition is True."""
        return any(found.type == condition and found.status == "True" for found in self.status.conditions)


class _Schema(msgspec.Struct, rename={"schema": "openAPIV3Schema"}):
    schema: msgspec.Raw = msgspec.Raw(b"{}")


class _Version(msgspec.Struct):
    name: str = ""
    schema: _Schema = msgspec.field(default_factory=_Schema)


class _Spec(msgspec.Struct):
    versions: list[_Version] = []


class _Schemas(msgspec.Struct):
    spec: _Spec


_SCHEMAS = msgspec.json.Decoder(_Schemas)


def schemas_of(value: bytes) -> dict[str, msgspec.Raw]:
    """The `openAPIV3Schema` of each version in a definition's stored bytes, not decoded: places in those bytes."""
    return {version.name: version.schema.schema for version in _SCHEMAS.decode(value).spec.versions}


def _defaults(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    names["singular"] = names.get("singular") or kind.lower()
    names["listKind"] = names.get("listKind") or (f"{kind}List" if kind else "")
    conversion = spec.setdefault("conversion", {})
    conversion["strategy"] = conversion.get("strategy") or "None"
    service = section(section(section(conversion, "webhook"), "clientConfig"), "service")
    if service:
        service.setdefault("port", 443)
    for version in spec.get("versions") or ():
        for column in version.get("additionalPrinterColumns") or ():
            if not column.get("priority"):
                column.pop("priority", None)


def _on_create(obj: Obj) -> None:
    obj["status"] = {"acceptedNames": {"plural": "", "kind": ""}, "conditions": [], "storedVersions": []}
    _note_stored_version(obj)


def _on_update(new: Obj, old: Obj) -> None:
    _note_stored_version(new)


def _note_stored_version(obj: Obj) -> None:
    """Objects may be stored in this version from now on, until someone has migrated them and says so."""
    stored = obj.setdefault("status", {}).setdefault("storedVersions", [])
    for version in section(obj, "spec").get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            stored.append(version.get("name"))


def _on_delete(obj: Obj) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if CLEANUP not in finalizers:
        finalizers.append(CLEANUP)
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [condition for condition in conditions if condition.get("type") != "Terminating"]
    conditions.append(
        {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": timestamp(),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        }
    )


KIND = Kind(
    view=CustomResourceDefinition,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=frozenset({"status"}),
    columns=(NAME, Column("Created At", field("metadata", "creationTimestamp"), "When it was created.", "date")),
    generation_fields=("spec",),
    defaults=_defaults,
    rules=check_definition,
    on_create=_on_create,
    on_update=_on_update,
    on_delete=_on_delete,
    bare_finalizers=True,
    slow=True,
)
