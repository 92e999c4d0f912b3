"""API objects as they travel: plain JSON trees, and the few things true of every one of them."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple, TypeAlias

Obj: TypeAlias = dict[str, Any]
"""A JSON tree of one API object. Used where any kind may come (the API server, patches); components
that know their kind use the typed views in `pilothouse.kinds`."""


class Resource(NamedTuple):
    """Names a served resource: where it is found in the API and what its objects are called."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """`v1` for the core group, else `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The URL path of the collection, of one object, or of one of its subresources."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def object_key(obj: Obj) -> str:
    """`namespace/name`, or `name` for objects outside namespaces."""
    meta = obj.get("metadata") or {}
    namespace = meta.get("namespace")
    return f"{namespace}/{meta.get('name', '')}" if namespace else str(meta.get("name", ""))


def split_key(key: str) -> tuple[str | None, str]:
    """The namespace (None outside namespaces) and name of a key."""
    namespace, slash, name = key.partition("/")
    return (namespace, name) if slash else (None, key)


def timestamp(moment: dt.datetime | None = None) -> str:
    """RFC 3339 in UTC with whole seconds, as `metadata.creationTimestamp` is written."""
    # Not by strftime, which writes the year 1 (a client's zero) with one digit.
    return (moment or dt.datetime.now(dt.UTC)).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def micro_timestamp(moment: dt.datetime | None = None) -> str:
    """RFC 3339 in UTC with microseconds, as `MicroTime` fields are written."""
    return (moment or dt.datetime.now(dt.UTC)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> dt.datetime:
    """The moment an RFC 3339 text names. Raises ValueError."""
    return dt.datetime.fromisoformat(text)
