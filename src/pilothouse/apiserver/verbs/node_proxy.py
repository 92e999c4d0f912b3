"""nodes/proxy: what a node's own API answers, asked through the API server."""

from __future__ import annotations

from urllib.parse import unquote

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.node_link import node_address
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import Forbidden, ServiceUnavailable

_OF_PODS = ("/exec", "/attach", "/portForward", "/run")
"""What a right on nodes must not lead to: these are served under subresources of pods, each with a right of its own."""


async def node_proxy(backend: Backend, call: Call) -> Response:
    """Raises NotFound, Forbidden, ServiceUnavailable, and what the node answers with."""
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    if backend.nodes is None:
        raise ServiceUnavailable("this server was started without a certificate to reach nodes with")
    path = "/" + unquote(call.request.path).partition(f"/nodes/{call.route.name}/proxy")[2].lstrip("/")
    # Nothing that becomes another path on its way.
    if path.startswith(_OF_PODS) or "%" in path or {".", ".."} & set(path.split("/")):
        raise Forbidden(f"{path} is not served through nodes/proxy: use the subresource of the pod")
    address = node_address(codec.decode(record.value))
    return await backend.nodes.forward(address, path, call.request)
