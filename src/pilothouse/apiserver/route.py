"""From a method and a path to what is asked for. Pure.

Source: Kubernetes API concepts, "Resource URIs", and the request attributes of its authorisation documentation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.selector_text import parse_field_selector

_VERBS_ON_OBJECT = {
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "POST": "create",
}
_VERBS_ON_COLLECTION = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
_CONNECT = frozenset({"exec", "attach", "portforward"})
_PROXIED = frozenset({"nodes", "pods", "services"})
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_REMEMBERED_LENGTH = 256
"""Characters of the longest path whose route is remembered."""


class Route(NamedTuple):
    """What a request addresses. For paths outside resources only `verb` (the method) and `path` are set.

    `verb` is "" when the method does not exist for what is addressed.
    """

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse(method: str, path: str, query: list[tuple[str, str]]) -> Route:
    """The route of a request; `path` may be percent-encoded and end with a slash."""
    if not query and len(path) <= _REMEMBERED_LENGTH:
        return _of_path(method, path)
    return _parse(method, path, query)


@lru_cache(maxsize=2048)
def _of_path(method: str, path: str) -> Route:
    return _parse(method, path, [])


def _parse(method: str, path: str, query: list[tuple[str, str]]) -> Route:
    parts = path.strip("/").split("/")
    if "%" in path:
        parts = [unquote(part) for part in parts]
    if not all(parts) or any("/" in part for part in parts):
        # An empty segment (a forgotten variable, perhaps) must not widen what a request is about.
        return Route(method.lower(), path.rstrip("/") or "/")
    head = parts[0]
    if head == "api" and len(parts) > 2:
        return _resource(method, path, "", parts[1], parts[2:], query)
    if head == "apis" and len(parts) > 3:
        return _resource(method, path, parts[1], parts[2], parts[3:], query)
    return Route(method.lower(), path.rstrip("/") or "/")


def _resource(method: str, path: str, group: str, version: str, rest: list[str], query: list[tuple[str, str]]) -> Route:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1:
        # A namespace is in itself, as far as authorisation goes.
        namespace = rest[1]
    resource, *tail = rest
    name = tail[0] if tail else ""
    subresource = "/".join(tail[1:])
    if resource in _PROXIED and subresource.startswith("proxy/"):
        # What follows is a path of the other server's own.
        subresource = "proxy"
    if name:
        verb = "create" if subresource in _CONNECT else _VERBS_ON_OBJECT.get(method, "")
        if not subresource and method == "POST":
            verb = ""
    else:
        verb = _VERBS_ON_COLLECTION.get(method, "")
        if verb == "list" and any(key == "watch" and value not in ("false", "0") for key, value in query):
            verb = "watch"
        if verb in ("list", "watch", "deletecollection"):
            name = _selected_name(query)
    return Route(verb, path, True, group, version, resource, namespace, name, subresource)


def _selected_name(query: list[tuple[str, str]]) -> str:
    """The one name a collection request is about, so that rights on a single object suffice to watch it."""
    text = next((value for key, value in query if key == "fieldSelector"), "")
    if "metadata.name" not in text:
        return ""
    try:
        return parse_field_selector(text).exact("metadata.name") or ""
    except ApiError:
        return ""
