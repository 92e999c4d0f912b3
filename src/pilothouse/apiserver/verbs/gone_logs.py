"""pods/log with `gone=true`: the logs that nodes keep of pods that are gone.

Without `uid` the answer is a list of what there is, asked of every node; with `node`, `uid` and `container` it is the
log. It needs the right to read the pod's log; with `prefix=true` (pods whose names begin so) that of any pod's.
"""

from __future__ import annotations

import asyncio
import re

import orjson

from pilothouse.apiserver import codec
from pilothouse.apiserver.authorise import authorise
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.node_link import NodeLink, node_address
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import ApiError, BadRequest, NotFound, ServiceUnavailable
from pilothouse.machinery.objects import Obj, Resource

_NODES = Resource("", "v1", "Node", "nodes", False)
_SECONDS = 10.0
_PART = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""What may become a part of a path of the node's API, which is asked with this server's own rights."""
_OWN = ("gone", "prefix", "node", "uid", "container", "follow", "previous")


async def gone_logs(backend: Backend, call: Call) -> Response:
    """Raises Forbidden, NotFound, BadRequest, ServiceUnavailable."""
    for name in ("uid", "container"):
        if name in call.params and not _PART.fullmatch(call.params[name]):
            raise BadRequest(f"{name}: {call.params[name]!r} is not a name")
    if not _PART.fullmatch(call.route.name) or not _PART.fullmatch(call.namespace):
        raise BadRequest(f"{call.namespace}/{call.route.name} is not the name of a pod")
    if backend.nodes is None:
        raise ServiceUnavailable("this server was started without a certificate to reach nodes with")
    if "uid" in call.params:
        return await _read(backend, call, backend.nodes)
    prefix = call.flag("prefix")
    if prefix:
        any_pod = call.route._replace(name="")
        await authorise(backend.chain.authorizer, call.user, any_pod)
    nodes = [codec.decode(record.value) for record in backend.store.list(codec.prefix(_NODES, ""))]
    answers = await asyncio.gather(*(_ask(backend.nodes, node, call, prefix) for node in nodes))
    items = [log for answer in answers if isinstance(answer, list) for log in answer]
    unreached = [answer for answer in answers if isinstance(answer, dict)]
    body = {"items": sorted(items, key=lambda log: log["ended"]), "unreached": unreached}
    return Response(200, dict(JSON_HEADERS), orjson.dumps(body))


async def _ask(link: NodeLink, node: Obj, call: Call, prefix: bool) -> list[Obj] | Obj:
    """What one node keeps; an object that says why, for one that could not be asked."""
    name = node["metadata"]["name"]
    path = f"/goneLogs/{call.namespace}/{call.route.name}" + ("?prefix=true" if prefix else "")
    try:
        found: list[Obj] = orjson.loads(await link.read(node_address(node), path, _SECONDS))
    except ApiError as error:
        return {"node": name, "reason": error.message}
    return [{**log, "node": name} for log in found]


async def _read(backend: Backend, call: Call, link: NodeLink) -> Response:
    node, uid, container = (call.params.get(name, "") for name in ("node", "uid", "container"))
    if not (node and uid and container):
        raise BadRequest("the log of a pod that is gone is named by node, uid and container")
    record = backend.store.get(codec.key(_NODES, "", node))
    if record is None:
        raise NotFound(f'node "{node}" is not registered any more', kind="nodes", name=node)
    query = [(key, value) for key, value in call.request.query if key not in _OWN]
    path = f"/goneLogs/{call.namespace}/{call.route.name}/{uid}/{container}"
    address = node_address(codec.decode(record.value))
    return Response(200, {"content-type": "text/plain"}, stream=await link.get(address, path, query))
