"""pods/log, exec, attach and portforward: found, authorised here, carried out by the pod's node."""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.apiserver import codec, refusals, spdy_streams
from pilothouse.apiserver.call import Backend, Call
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.apiserver.node_link import NodeAddress, NodeLink, node_address
from pilothouse.apiserver.pod_container import choose_container
from pilothouse.apiserver.relay import relay_between
from pilothouse.apiserver.upgrade import Socket, Upgrade
from pilothouse.apiserver.verbs.gone_logs import gone_logs
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import BadRequest, ServiceUnavailable
from pilothouse.machinery.objects import Obj, Resource

_NODES = Resource("", "v1", "Node", "nodes", False)
_NODE_NAMES = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
"""What the API's parameters are called in a node's API."""
_OPTIONS_KIND = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}


async def log(backend: Backend, call: Call) -> Response:
    if call.flag("gone"):
        return await gone_logs(backend, call)
    pod = _pod(backend, call)
    container = choose_container(pod, call.params.get("container", ""))
    headers = {"content-type": "text/plain"}
    if not pod["spec"].get("nodeName"):
        return Response(200, headers)
    link, address = _node_of(backend, pod)
    query = [(key, value) for key, value in call.request.query if key != "container"]
    path = f"/containerLogs/{call.namespace}/{call.route.name}/{container}"
    return Response(200, headers, stream=await link.get(address, path, query))


async def exec_(backend: Backend, call: Call) -> Response:
    pod = _pod(backend, call)
    container = choose_container(pod, call.params.get("container", ""))
    if "command" not in call.params:
        raise BadRequest("you must specify at least one command for the container")
    return await _stream(backend, call, pod, f"/exec/{_pod_path(pod)}/{container}")


async def attach(backend: Backend, call: Call) -> Response:
    pod = _pod(backend, call)
    container = choose_container(pod, call.params.get("container", ""))
    return await _stream(backend, call, pod, f"/attach/{_pod_path(pod)}/{container}")


async def portforward(backend: Backend, call: Call) -> Response:
    pod = _pod(backend, call)
    return await _stream(backend, call, pod, f"/portForward/{_pod_path(pod)}")


def _pod(backend: Backend, call: Call) -> Obj:
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    return codec.decode(record.value)


def _pod_path(pod: Obj) -> str:
    meta = pod["metadata"]
    return f"{meta['namespace']}/{meta['name']}/{meta['uid']}"


def _node_of(backend: Backend, pod: Obj) -> tuple[NodeLink, NodeAddress]:
    """The link and address of the node a pod is on. Raises BadRequest, ServiceUnavailable."""
    name = pod["spec"].get("nodeName")
    if not name:
        raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
    record = backend.store.get(codec.key(_NODES, "", name))
    if record is None:
        raise ServiceUnavailable(f'node "{name}" of the pod is not registered any more')
    if backend.nodes is None:
        raise ServiceUnavailable("this server was started without a certificate to reach nodes with")
    return backend.nodes, node_address(codec.decode(record.value))


async def _stream(backend: Backend, call: Call, pod: Obj, path: str) -> Response:
    """Opens the node's WebSocket first, so that its refusal reaches the client as an ordinary error."""
    headers, options = call.request.headers, _options(call)
    by_spdy, forward = spdy_streams.wanted(call.request), call.route.subresource == "portforward"
    if by_spdy:
        agreed = spdy_streams.agree(call.request, forward=forward)
    elif headers.get("upgrade", "").lower() != "websocket":
        raise BadRequest("Upgrade request required: this server carries streams over WebSocket and SPDY/3.1")
    await backend.chain.admission.admit(
        AdmissionRequest(
            user=call.user,
            operation="CONNECT",
            resource=call.resource,
            namespace=call.namespace,
            name=call.route.name,
            subresource=call.route.subresource,
            object=options,
            warnings=call.warnings,
            annotations=call.annotations,
        )
    )
    link, address = _node_of(backend, pod)
    query = _node_query(call.request.query)
    if by_spdy:
        protocol = spdy_streams.NODE_FORWARD if forward else spdy_streams.NODE_EXEC
        node = await link.connect(address, path, query, (protocol,))
        return spdy_streams.takeover(agreed, node, spdy_streams.expected_streams(options))
    offered = tuple(entry.strip() for entry in headers.get("sec-websocket-protocol", "").split(",") if entry.strip())
    node = await link.connect(address, path, query, offered)

    async def relay(client: Socket) -> None:
        await relay_between(client, node)

    return Upgrade(101, protocol=node.protocol, relay=relay, abandon=node.close)


def _options(call: Call) -> Obj:
    kind = _OPTIONS_KIND[call.route.subresource]
    options: Obj = {"kind": kind, "apiVersion": "v1"}
    for key, value in call.request.query:
        if key in ("stdin", "stdout", "stderr", "tty"):
            options[key] = _is_true(value)
        elif key == "command":
            options.setdefault("command", []).append(value)
        elif key == "container":
            options["container"] = value
        elif key == "ports":
            options.setdefault("ports", []).extend(int(port) for port in value.split(",") if port.isdigit())
    return options


def _node_query(query: list[tuple[str, str]], names: Mapping[str, str] = _NODE_NAMES) -> list[tuple[str, str]]:
    passed: list[tuple[str, str]] = []
    for key, value in query:
        if key in names:
            if _is_true(value):
                passed.append((names[key], "1"))
        elif key in ("command", "ports", "port"):
            passed.append((key, value))
    return passed


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "1")
