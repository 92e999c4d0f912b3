"""get and list of NodeMetrics and PodMetrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import orjson

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.apiserver.discovery import Entry
from pilothouse.apiserver.node_link import NodeLink, node_address
from pilothouse.apiserver.resource_metrics.usage import NODES, PODS, node_metrics, pod_metrics
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import ApiError, ServiceUnavailable
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.selector_text import parse_field_selector, parse_label_selector
from pilothouse.machinery.selectors import EVERYTHING, Selector
from pilothouse.store.store import Store

log = logging.getLogger(__name__)

ENTRIES = (Entry(NODES, "", ("get", "list")), Entry(PODS, "", ("get", "list")))
_KEPT_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_CORE_NODES = Resource("", "v1", "Node", "nodes", False)
_CORE_PODS = Resource("", "v1", "Pod", "pods", True)


class ResourceMetrics:
    """Answers requests for `metrics.k8s.io`; a node's summary is asked for at most every few seconds."""

    def __init__(self, store: Store, nodes: NodeLink | None) -> None:
        self._store = store
        self._nodes = nodes
        self._summaries: dict[str, tuple[float, asyncio.Task[Obj]]] = {}

    def serves(self, route: Route) -> bool:
        """Whether the route is of this API."""
        return (route.group, route.version) == (NODES.group, NODES.version) and route.resource in ("nodes", "pods")

    async def answer(self, request: Request, route: Route) -> Response:
        """Raises NotFound, MethodNotAllowed, ServiceUnavailable (a node that is asked for by name is away)."""
        resource = NODES if route.resource == "nodes" else PODS
        source = _CORE_NODES if resource is NODES else _CORE_PODS
        if route.subresource:
            raise refusals.no_such_path()
        if route.verb == "get":
            record = self._store.get(codec.key(source, route.namespace, route.name))
            found = await self._measure(resource, [codec.decode(record.value)]) if record is not None else []
            if not found:
                raise refusals.not_found(resource, route.name)
            return Response(200, dict(JSON_HEADERS), orjson.dumps(found[0]))
        if route.verb != "list":
            raise refusals.method_not_allowed()
        objects = self._selected(source, route, dict(request.query))
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        meta = {"resourceVersion": str(self._store.revision)}
        items = await self._measure(resource, objects)
        return Response(200, dict(JSON_HEADERS), orjson.dumps({**head, "metadata": meta, "items": items}))

    def _selected(self, source: Resource, route: Route, params: dict[str, str]) -> list[Obj]:
        text = params.get("labelSelector", "")
        labels: Selector = parse_label_selector(text) if text else EVERYTHING
        fields = parse_field_selector(params.get("fieldSelector", ""))
        trees = (codec.decode(record.value) for record in self._store.list(codec.prefix(source, route.namespace)))
        return [
            tree
            for tree in trees
            if labels.matches(tree["metadata"].get("labels"))
            and fields.matches({f"metadata.{name}": tree["metadata"].get(name, "") for name in ("name", "namespace")})
        ]

    async def _measure(self, resource: Resource, objects: Sequence[Obj]) -> list[Obj]:
        """The metrics of those objects that have some; nodes that do not answer are left out, and logged."""
        names = {_node_name(resource, obj) for obj in objects} - {""}
        summaries = dict(zip(names, await asyncio.gather(*(self._summary(name) for name in names))))
        make = node_metrics if resource is NODES else pod_metrics
        made = (make(obj, summaries.get(_node_name(resource, obj)) or {}) for obj in objects)
        return [metrics for metrics in made if metrics is not None]

    async def _summary(self, name: str) -> Obj:
        now = asyncio.get_running_loop().time()
        kept = self._summaries.get(name)
        if kept is None or now - kept[0] > _KEPT_SECONDS:
            self._summaries = {key: entry for key, entry in self._summaries.items() if now - entry[0] < _KEPT_SECONDS}
            kept = self._summaries[name] = (now, asyncio.ensure_future(self._ask(name)))
        try:
            return await asyncio.shield(kept[1])
        except ApiError as error:
            log.warning("no metrics of node %s: %s", name, error.message)
            return {}

    async def _ask(self, name: str) -> Obj:
        record = self._store.get(codec.key(_CORE_NODES, "", name))
        if record is None or self._nodes is None:
            raise ServiceUnavailable(f'node "{name}" cannot be asked')
        address = node_address(codec.decode(record.value))
        body = await self._nodes.read(address, "/stats/summary", _ANSWER_SECONDS)
        try:
            return codec.decode(body)
        except orjson.JSONDecodeError as error:
            raise ServiceUnavailable(f'node "{name}" answered with a summary that is not JSON') from error


def _node_name(resource: Resource, obj: Obj) -> str:
    name: str = obj["metadata"]["name"] if resource is NODES else (obj.get("spec") or {}).get("nodeName", "")
    return name
