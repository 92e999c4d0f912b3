"""Event (core/v1, what `kubectl describe` and `kubectl get events` read)."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.columns import Column, field, since
from pilothouse.kinds.core.object_reference import ObjectReference
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.kinds.view import Object, View
from pilothouse.machinery.objects import Obj, Resource


class EventSource(View):
    component: str = ""
    host: str = ""


class EventSeries(View):
    count: int = 0
    last_observed_time: str | None = None


class Event(Object):
    resource: ClassVar[Resource] = Resource("", "v1", "Event", "events", True)

    involved_object: ObjectReference = msgspec.field(default_factory=ObjectReference)
    reason: str = ""
    message: str = ""
    source: EventSource = msgspec.field(default_factory=EventSource)
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0
    type: str = ""
    event_time: str | None = None
    series: EventSeries | None = None
    action: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""


_TYPES = ("Normal", "Warning")
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _rules(obj: Obj, old: Obj | None, problems: Problems) -> None:
    namespace = section(obj, "metadata").get("namespace") or ""
    about = section(obj, "involvedObject").get("namespace") or ""
    # Events about objects outside namespaces are kept in `default`.
    if about != namespace and (about or namespace != "default"):
        problems.invalid("involvedObject.namespace", about, "does not match event.namespace")
    if obj.get("eventTime") and obj.get("type") not in _TYPES:
        problems.invalid("type", obj.get("type", ""), "has invalid value")


def _first_seen(obj: Obj) -> str:
    return since(obj.get("firstTimestamp") or obj.get("eventTime"))


def _last_seen(obj: Obj) -> str:
    series = section(obj, "series")
    if series.get("lastObservedTime"):
        return since(series["lastObservedTime"])
    return since(obj["lastTimestamp"]) if obj.get("lastTimestamp") else _first_seen(obj)


def _object(obj: Obj) -> str:
    about = section(obj, "involvedObject")
    kind = str(about.get("kind", "")).lower()
    return f"{kind}/{about['name']}" if about.get("name") else kind


def _source(obj: Obj) -> str:
    source = section(obj, "source")
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _count(obj: Obj) -> int:
    return int(section(obj, "series").get("count") or obj.get("count") or 1)


def _fields(obj: Obj) -> dict[str, str]:
    about, component = section(obj, "involvedObject"), obj.get("reportingComponent") or ""
    return {
        **{f"involvedObject.{key}": about.get(key) or "" for key in _INVOLVED},
        "reason": obj.get("reason") or "",
        "reportingComponent": component,
        "source": section(obj, "source").get("component") or component,
        "type": obj.get("type") or "",
    }


KIND = Kind(
    view=Event,
    short_names=("ev",),
    columns=(
        Column("Last Seen", _last_seen, "Time since it was last seen."),
        Column("Type", field("type"), "Normal or Warning."),
        Column("Reason", field("reason"), "What happened, in a word."),
        Column("Object", _object, "What it is about."),
        Column("Subobject", field("involvedObject", "fieldPath"), "Part of the object.", priority=1),
        Column("Source", _source, "Who reported it.", priority=1),
        Column("Message", lambda obj: str(obj.get("message", "")).strip(), "What happened."),
        Column("First Seen", _first_seen, "Time since it was first seen.", priority=1),
        Column("Count", _count, "How often it was seen.", priority=1),
        Column("Name", field("metadata", "name"), "Name of the event.", format="name", priority=1),
    ),
    rules=_rules,
    fields=_fields,
    create_on_update=True,
    bare_finalizers=True,
)
