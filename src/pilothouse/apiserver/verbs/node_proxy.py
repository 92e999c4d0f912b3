"""nodes/proxy: what a node's own API answers to a GET, asked through the API server."""

from __future__ import annotations

from urllib.parse import unquote

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.node_link import node_address
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import Forbidden, ServiceUnavailable

_READ_ONLY = ("/exec", "/attach", "/portForward", "/run")
"""What a right to read must not lead to: these are served under subresources of pods."""


async def node_proxy(backend: Backend, call: Call) -> Response:
    """Raises NotFound, Forbidden, ServiceUnavailable, and what the node answers with."""
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    if backend.nodes is None:
        raise ServiceUnavailable("this server was started without a certificate to reach nodes with")
    path = "/" + unquote(call.request.path).partition(f"/nodes/{call.route.name}/proxy")[2].lstrip("/")
    # Nothing that becomes another path on its way.
    if path.startswith(_READ_ONLY) or "%" in path or {".", ".."} & set(path.split("/")):
        raise Forbidden(f"{path} is not served through nodes/proxy: use the subresource of the pod")
    address = node_address(codec.decode(record.value))
    stream = await backend.nodes.get(address, path, list(call.request.query))
    kind = (
        "text/plain" if path.startswith(("/metrics", "/healthz", "/containerLogs", "/goneLogs")) else "application/json"
    )
    return Response(200, {"content-type": kind}, stream=stream)
