"""Columns of a kind's table, as `kubectl get` and `kubectl get -o wide` print them, and how times are shown.

Source of the columns: Kubernetes' printers; of the durations: `duration.HumanDuration` of apimachinery.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pilothouse.machinery.objects import Obj, parse_timestamp
from pilothouse.machinery.selectors import from_label_selector

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `priority` 0 is always shown, 1 only when wide output is asked for."""

    name: str
    value: Callable[[Obj], Any]
    description: str = ""
    type: str = "string"
    format: str = ""
    priority: int = 0


def human_duration(seconds: float) -> str:
    """A duration in at most two units, coarser as it grows: `90s`, `5m3s`, `7h12m`, `3d4h`, `2y30d`."""
    if seconds <= -2:
        return "<invalid>"
    total = max(int(seconds), 0)
    minutes, hours = total // 60, total // 3600
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        return _two(hours // 24 // 365, "y", hours // 24 % 365, "d")
    return f"{hours // 24 // 365}y"


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"


def now() -> dt.datetime:
    """The moment that ages are counted to."""
    return dt.datetime.now(dt.UTC)


def since(moment: str | None) -> str:
    """The time from an RFC 3339 moment until now, `<unknown>` without a moment."""
    if not moment:
        return UNKNOWN
    return human_duration((now() - parse_timestamp(moment)).total_seconds())


def pairs(labels: Mapping[str, str] | None) -> str:
    """Labels as `a=b,c=d` in order of their keys, `<none>` without any."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) if labels else NONE


def selector_text(selector: Obj | None) -> str:
    """A label selector in its one-line form (`app=shop,tier in (a,b),!old`); `<none>` when it is empty."""
    if not selector:
        return NONE
    try:
        return str(from_label_selector(selector)) or NONE
    except ValueError:
        return "<error>"


def field(*path: str, default: Any = "") -> Callable[[Obj], Any]:
    """A value function that reads one field, `default` when it is missing, null or empty text."""

    def read(obj: Obj) -> Any:
        found: Any = obj
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return default if found is None or found == "" else found

    return read


def age(obj: Obj) -> str:
    """The time since the object was created."""
    return since((obj.get("metadata") or {}).get("creationTimestamp"))


NAME = Column("Name", field("metadata", "name"), "Name of the object, unique in its namespace.", format="name")
AGE = Column("Age", age, "Time since the object was created.")


def container_columns(*path: str) -> tuple[Column, Column]:
    """The wide columns Containers and Images of a pod template at `path`."""
    containers = field(*path, "spec", "containers", default=())

    def each(key: str) -> Callable[[Obj], str]:
        return lambda obj: ",".join(str(container.get(key, "")) for container in containers(obj))

    return (
        Column("Containers", each("name"), "Names of the containers in the template.", priority=1),
        Column("Images", each("image"), "Images of the containers in the template.", priority=1),
    )
