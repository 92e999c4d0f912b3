"""How much work a request is. Pure."""

from __future__ import annotations

from pilothouse.apiserver import codec
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request
from pilothouse.machinery.objects import Resource
from pilothouse.store.store import Store


def objects_read(request: Request, route: Route, resource: Resource, store: Store) -> int:
    """The objects that a list, or the beginning of a watch, goes through; 0 for a watch that goes on from a version."""
    params = dict(request.query)
    if route.verb == "watch" and params.get("resourceVersion", "0") not in ("", "0"):
        return 0
    count = store.count(codec.collection(resource))
    limit = params.get("limit", "")
    return min(count, int(limit)) if limit.isascii() and limit.isdigit() and int(limit) else count
