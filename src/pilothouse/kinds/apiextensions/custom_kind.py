"""A kind made from one version of a CustomResourceDefinition."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import msgspec
import orjson

from pilothouse.kinds.apiextensions.definition import (
    CustomResourceColumnDefinition,
    CustomResourceDefinition,
    CustomResourceDefinitionVersion,
    CustomResourceSubresourceScale,
)
from pilothouse.kinds.columns import AGE, NAME, UNKNOWN, Column, human_duration, now
from pilothouse.kinds.kind import ALL_VERBS, Kind, ScalePaths
from pilothouse.kinds.metadata import check_metadata
from pilothouse.kinds.problems import Problems
from pilothouse.kinds.view import Object
from pilothouse.machinery import names
from pilothouse.machinery.errors import Cause
from pilothouse.machinery.json_path import InvalidPath, find
from pilothouse.machinery.objects import Obj, Resource, parse_timestamp
from pilothouse.machinery.schema import GroupVersionKind, Schema
from pilothouse.machinery.structural import Examination
from pilothouse.machinery.structural_prune import fill_in, shape
from pilothouse.machinery.structural_schema import ABSENT, Structural, apply_node
from pilothouse.machinery.structural_validate import ROOT, validate

_VERSION = re.compile(r"v(\d{1,6})(?:(alpha|beta)(\d{1,6}))?")
_NEVER = 2**63
_TOLD = ("description", "title")
_RULES = b"x-kubernetes-validations"
_META_KEYS = frozenset({"apiVersion", "kind", "metadata"})


CheckRules = Callable[[Structural, Obj, Obj | None, Problems], None]
"""Reports the CEL rules of a schema that an object, or replacing an old one by it, breaks."""
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_NOT_CHECKED = Cause(
    ROOT,
    "FieldValueInvalid",
    'Invalid value: "null": some validation rules were not checked because the object was invalid;'
    " correct the existing errors to complete validation",
)


@dataclass(frozen=True, kw_only=True)
class CustomKind(Kind):
    """`storage_version` is what objects are stored in, `defined_at` the revision of the definition this was made from,
    `other_schemas` are those of its other versions."""

    singular_name: str = ""
    list_kind_name: str = ""
    check_rules: CheckRules | None = None
    raw_schema: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"{}"))
    selectable_paths: tuple[str, ...] = ()
    storage_version: str = ""
    defined_at: int = 0
    other_schemas: tuple[msgspec.Raw, ...] = ()
    conversion_webhook: Obj | None = None
    strategic_merge: bool = False
    bare_finalizers: bool = True

    @property
    def singular(self) -> str:
        return self.singular_name

    @property
    def list_kind(self) -> str:
        return self.list_kind_name

    @cached_property
    def structural(self) -> Structural:
        return Structural(orjson.loads(memoryview(self.raw_schema)))

    @cached_property
    def schema(self) -> Schema | None:
        own = self.resource
        return Schema(GroupVersionKind(own.group, own.version, own.kind), apply_node(self.structural, root=True))

    @cached_property
    def settled_since(self) -> int:
        """Objects stored in this version at that revision or later are as its schema wants them; others are brought to
        it when they are read. When another version has a schema of another shape, no object is taken to be settled: it
        may have been written in that version, and hold more than this one knows."""
        own = _shape(self.raw_schema)
        return self.defined_at if all(_shape(other) == own for other in self.other_schemas) else _NEVER

    def examine(self, tree: Obj) -> Examination:
        return shape(self.structural, tree)

    def fill_in(self, tree: Obj) -> None:
        fill_in(self.structural, tree)

    def default(self, obj: Obj) -> None:
        self.fill_in(obj)

    def settle(self, tree: Obj) -> None:
        """Brings a stored object, in place, to this version and its schema of today."""
        tree["apiVersion"] = self.resource.api_version
        self.examine(tree)
        self.fill_in(tree)

    def validate(self, obj: Obj, old: Obj | None = None) -> list[Cause]:
        problems = Problems(super().validate(obj, old))
        found = validate(self.structural, obj, old=ABSENT if old is None else old)
        problems += found
        check_embedded(self.structural, obj, "", problems)
        if not self.structural.validated:
            return problems
        if any(cause.reason in _BLOCKING for cause in found):
            problems.append(_NOT_CHECKED)
        elif self.check_rules is not None:
            self.check_rules(self.structural, obj, old, problems)
        return problems

    def prepare_create(self, obj: Obj) -> None:
        if self.has_status:
            obj.pop("status", None)
        obj["metadata"]["generation"] = 1

    def prepare_update(self, new: Obj, old: Obj) -> None:
        if self.has_status:
            _keep(new, old, ("status",))
        _keep(new["metadata"], old["metadata"], ("generation",))
        ignored = _META_KEYS | ({"status"} if self.has_status else set())
        if any(new.get(key) != old.get(key) for key in (new.keys() | old.keys()) - ignored):
            new["metadata"]["generation"] = new["metadata"].get("generation", 0) + 1

    def prepare_status_update(self, new: Obj, old: Obj) -> None:
        """Nothing but the status; source: the status strategy of custom resources."""
        managed = new["metadata"].get("managedFields")
        _keep(new, old, (new.keys() | old.keys()) - {"metadata", "status"})
        new["metadata"] = {**old["metadata"], "resourceVersion": new["metadata"].get("resourceVersion", "")}
        if managed is not None:
            new["metadata"]["managedFields"] = managed

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        values = super().selectable_fields(obj)
        for path in self.selectable_paths:
            found = find(path, obj)
            values[path[1:]] = _text(found[0]) if found else ""
        return values


def _shape(schema: msgspec.Raw) -> Any:
    """A schema without what is there for people."""

    def bare(node: Any) -> Any:
        if isinstance(node, list):
            return [bare(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        return {key: bare(value) for key, value in node.items() if not (key in _TOLD and isinstance(value, str))}

    return bare(orjson.loads(memoryview(schema)))


def _keep(new: Obj, old: Obj, keys: Iterable[str]) -> None:
    for key in list(keys):
        if key in old:
            new[key] = old[key]
        else:
            new.pop(key, None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def kinds_of(
    definition: CustomResourceDefinition,
    schemas: Mapping[str, msgspec.Raw],
    revision: int,
    check_rules: CheckRules | None = None,
) -> list[CustomKind]:
    """The kinds a definition makes, one for each served version; none before its names are accepted.

    While it is being deleted the stored version is served in any case, so that its objects can be removed.
    """
    if not definition.has("Established"):
        return []
    going = definition.metadata.deletion_timestamp is not None
    served = [version for version in definition.spec.versions if version.served or (going and version.storage)]
    kinds = [_kind(definition, version, schemas, revision) for version in served]
    return [replace(kind, check_rules=check_rules, slow=_RULES in bytes(kind.raw_schema)) for kind in kinds]


def _kind(
    definition: CustomResourceDefinition,
    version: CustomResourceDefinitionVersion,
    schemas: Mapping[str, msgspec.Raw],
    revision: int,
) -> CustomKind:
    spec, accepted = definition.spec, definition.status.accepted_names
    resource = Resource(spec.group, version.name, accepted.kind, accepted.plural, spec.scope == "Namespaced")
    parts = {
        name
        for name, given in (("status", version.subresources.status), ("scale", version.subresources.scale))
        if given is not None
    }
    going = definition.metadata.deletion_timestamp is not None
    return CustomKind(
        view=_view(resource),
        short_names=tuple(accepted.short_names),
        categories=tuple(accepted.categories),
        subresources=frozenset(parts),
        # What is created while the definition goes would outlive it.
        verbs=ALL_VERBS - {"create"} if going else ALL_VERBS,
        columns=(NAME, *map(_column, version.additional_printer_columns))
        if version.additional_printer_columns
        else (NAME, AGE),
        name_rule=names.dns1123_subdomain,
        singular_name=accepted.singular,
        list_kind_name=accepted.list_kind or f"{accepted.kind}List",
        raw_schema=schemas[version.name],
        scale_paths=_scale_paths(version.subresources.scale),
        selectable_paths=tuple(entry.json_path for entry in version.selectable_fields),
        storage_version=next((found.name for found in spec.versions if found.storage), version.name),
        defined_at=revision,
        other_schemas=tuple(other for name, other in schemas.items() if name != version.name),
        conversion_webhook=spec.conversion.webhook if spec.conversion.strategy == "Webhook" else None,
        warning=_warning(version, resource),
    )


def _view(resource: Resource) -> type[Object]:
    return type(f"{resource.kind}View", (Object,), {"resource": resource})


def _scale_paths(scale: CustomResourceSubresourceScale | None) -> ScalePaths:
    if scale is None:
        return ScalePaths()
    return ScalePaths(scale.spec_replicas_path, scale.status_replicas_path, scale.label_selector_path)


def _warning(version: CustomResourceDefinitionVersion, resource: Resource) -> str:
    if not version.deprecated:
        return ""
    return version.deprecation_warning or f"{resource.api_version} {resource.kind} is deprecated"


def _column(given: CustomResourceColumnDefinition) -> Column:
    return Column(
        given.name, _cell(given.json_path, given.type), given.description, given.type, given.format, given.priority
    )


def _cell(path: str, type_: str) -> Callable[[Obj], Any]:
    def value(obj: Obj) -> Any:
        try:
            found = find(path, obj)
        except InvalidPath:
            return None
        return _shown(found[0], type_) if found else None

    return value


def _shown(value: Any, type_: str) -> Any:
    """A cell of the column's type; a value of another type is shown as nothing."""
    if value is None:
        return None
    if type_ == "string":
        return _text(value)
    if type_ == "date":
        return _ago(value)
    wanted: dict[str, tuple[type, ...]] = {"integer": (int, float), "number": (int, float), "boolean": (bool,)}
    if type(value) not in wanted.get(type_, ()):
        return None
    return int(value) if type_ == "integer" else value


def _ago(value: Any) -> str:
    try:
        moment = parse_timestamp(value)
        return human_duration((now() - moment.astimezone(dt.UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN if not value else "<invalid>"


def check_embedded(schema: Structural, value: Any, path: str, problems: Problems) -> None:
    """Objects within an object are objects too: they need a kind, a version, and sound metadata."""
    if isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            check_embedded(schema.items, item, f"{path}[{index}]", problems)
    if not isinstance(value, dict):
        return
    prefix = f"{path}." if path else ""
    if schema.embedded and path:
        for name in ("apiVersion", "kind"):
            if not value.get(name) or not isinstance(value[name], str):
                problems.required(prefix + name, "must not be empty")
        if isinstance(value.get("metadata"), dict):
            _check_embedded_metadata(value["metadata"], prefix, problems)
    for name, item in value.items():
        child = schema.child(name)
        if child is not None:
            check_embedded(child, item, prefix + name, problems)


def _check_embedded_metadata(meta: Obj, prefix: str, problems: Problems) -> None:
    found = Problems()
    check_metadata(
        {"name": "unnamed", **meta}, bool(meta.get("namespace")), names.dns1123_subdomain, found, bare_finalizers=True
    )
    problems += [cause._replace(field=prefix + cause.field) for cause in found]


def api_order(versions: Sequence[str]) -> list[str]:
    """Versions as clients prefer them: v2, v1, v1beta2, v1beta1, v1alpha1, then others by name.

    Source: Kubernetes documentation, "Version priority".
    """
    return sorted(versions, key=_priority)


def _priority(version: str) -> tuple[int, int, int, str]:
    match = _VERSION.fullmatch(version)
    if match is None:
        return (1, 0, 0, version)
    stability = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (0, stability, -int(match[1]) * 1_000_000 - int(match[3] or 0), "")
