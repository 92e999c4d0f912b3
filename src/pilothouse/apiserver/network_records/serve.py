"""list of Flows and DeniedFlows, of a namespace or of all.

Who may `list` `flows` or `deniedflows` of the group in a namespace sees those with an end in it.
"""

from __future__ import annotations

import asyncio
import logging

import orjson

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.apiserver.network_records.merge import GROUP, VERSION, addresses, counts, items, merged
from pilothouse.apiserver.node_link import NodeLink, node_address
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import ApiError, ServiceUnavailable
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Store

log = logging.getLogger(__name__)

_KINDS = {"flows": ("flows", "FlowList"), "deniedflows": ("denied", "DeniedFlowList")}
_ANSWER_SECONDS = 5.0
_NODES = Resource("", "v1", "Node", "nodes", False)
_PODS = Resource("", "v1", "Pod", "pods", True)


class NetworkRecords:
    """Answers requests for `network.pilothouse.dev`, which is not in discovery: nothing there is written or watched."""

    def __init__(self, store: Store, nodes: NodeLink | None) -> None:
        self._store = store
        self._nodes = nodes

    def serves(self, route: Route) -> bool:
        """Whether the route is of this API."""
        return (route.group, route.version) == (GROUP, VERSION) and route.resource in _KINDS

    async def answer(self, request: Request, route: Route) -> Response:
        """Raises NotFound or MethodNotAllowed. Nodes that do not answer are named in `silent`."""
        if route.subresource or route.name:
            raise refusals.no_such_path()
        if route.verb != "list":
            raise refusals.method_not_allowed()
        names = [
            codec.decode(record.value)["metadata"]["name"] for record in self._store.list(codec.prefix(_NODES, ""))
        ]
        answers = await asyncio.gather(*(self._ask(name) for name in names))
        records = {name: answer for name, answer in zip(names, answers) if answer is not None}
        pods = addresses(codec.decode(record.value) for record in self._store.list(codec.prefix(_PODS, "")))
        kind, list_kind = _KINDS[route.resource]
        tree = {
            "kind": list_kind,
            "apiVersion": f"{GROUP}/{VERSION}",
            "metadata": {},
            "since": {name: record.get("since") for name, record in records.items()},
            "forgotten": sum(int(record.get("dropped") or 0) for record in records.values()),
            "unread": sum(int(record.get("lost") or 0) for record in records.values()),
            "silent": [name for name in names if name not in records],
            "items": items(kind, merged(kind, records, pods, route.namespace)),
        }
        if kind == "denied":
            tree["policies"] = counts(records, route.namespace)
        return Response(200, dict(JSON_HEADERS), orjson.dumps(tree))

    async def _ask(self, name: str) -> Obj | None:
        try:
            record = self._store.get(codec.key(_NODES, "", name))
            if record is None or self._nodes is None:
                raise ServiceUnavailable(f'node "{name}" cannot be asked')
            address = node_address(codec.decode(record.value))
            return codec.decode(await self._nodes.read(address, "/network/flows", _ANSWER_SECONDS))
        except (ApiError, orjson.JSONDecodeError) as error:
            log.warning("no flows of node %s: %s", name, error)
            return None
