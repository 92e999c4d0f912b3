"""Event (events.k8s.io/v1, what client-go's newer recorder writes): the same objects as core/v1's, which are kept."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import Column
from pilothouse.kinds.core import event as core
from pilothouse.kinds.kind import Kind, StoredAs
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj, Resource


class Event(Object):
    resource: ClassVar[Resource] = Resource("events.k8s.io", "v1", "Event", "events", True)


_CORE_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_OWN_NAMES = {theirs: ours for ours, theirs in _CORE_NAMES.items()}
_DEPRECATED = ("deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount")
_SHORT, _NOTE = 128, 1024
_REGARDING = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def to_core(obj: Obj) -> Obj:
    """The same event as core/v1 has it."""
    return {**{_CORE_NAMES.get(key, key): obj[key] for key in obj}, "apiVersion": core.Event.resource.api_version}


def from_core(obj: Obj) -> Obj:
    """The same event as events.k8s.io/v1 has it."""
    return {**{_OWN_NAMES.get(key, key): obj[key] for key in obj}, "apiVersion": Event.resource.api_version}


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    core.KIND.rules(to_core(obj), None if old is None else to_core(old), problems)
    if old is None:
        _check_new(obj, problems)


def _check_new(obj: Obj, problems: Problems) -> None:
    """Source: `ValidateEventCreate` of upstream's core validation."""
    if not obj.get("eventTime"):
        problems.required("eventTime")
    series = section(obj, "series")
    if series and series.get("count", 0) < 2:
        problems.invalid("series.count", "", "should be at least 2")
    controller = obj.get("reportingController") or ""
    if not controller:
        problems.required("reportingController")
    problems.invalid_each("reportingController", controller, names.label_key(controller) if controller else ())
    for key in ("reportingInstance", "action", "reason"):
        value = obj.get(key) or ""
        if not value:
            problems.required(key)
        if len(value) > _SHORT:
            problems.invalid(key, "", f"can have at most {_SHORT} characters")
    if len(obj.get("note") or "") > _NOTE:
        problems.invalid("note", "", f"can have at most {_NOTE} characters")
    for key in _DEPRECATED:
        if obj.get(key):
            problems.invalid(key, "", "needs to be unset")


def _fields(obj: Obj) -> dict[str, str]:
    regarding = section(obj, "regarding")
    return {
        **{f"regarding.{key}": regarding.get(key) or "" for key in _REGARDING},
        "reason": obj.get("reason") or "",
        "reportingController": obj.get("reportingController") or "",
        "type": obj.get("type") or "",
    }


def _column(column: Column) -> Column:
    return Column(
        column.name,
        lambda obj: column.value(to_core(obj)),
        column.description,
        column.type,
        column.format,
        column.priority,
    )


KIND = Kind(
    view=Event,
    short_names=core.KIND.short_names,
    columns=tuple(_column(column) for column in core.KIND.columns),
    rules=_rules,
    fields=_fields,
    stored_as=StoredAs(core.KIND, to_core, from_core),
    create_on_update=True,
    bare_finalizers=True,
)
