"""log, exec, attach, port-forward and metrics: found here, carried out by a node, stood in for by a small server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from edge_certificates import Certificates

from pilothouse.apiserver.chain import Attributes, Chain, Decision
from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.node_link import NodeLink
from pilothouse.client.client import Client
from pilothouse.machinery import spdy
from pilothouse.machinery.errors import BadRequest, Forbidden, NotFound, ServiceUnavailable
from pilothouse.testing.control_plane import AllowAll, ControlPlane

POD = "/api/v1/namespaces/ns/pods/p"


@dataclass
class FakeNode:
    """Answers as a node's API does; `asked` are the paths with their queries."""

    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    refuse: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    received: list[Any] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.path, list(request.query.items())))
        if self.refuse:
            status = {"kind": "Status", "message": "container is waiting to start", "reason": "BadRequest"}
            return web.Response(status=self.refuse, body=orjson.dumps(status), content_type="application/json")
        if request.path.startswith("/containerLogs/"):
            reply = web.StreamResponse()
            await reply.prepare(request)
            await reply.write(b"one\n")
            await reply.write(b"two\n")
            return reply
        if request.path.startswith("/goneLogs/"):
            log = {"pod": "none", "uid": "u1", "container": "c", "attempts": 1, "bytes": 4, "ended": 1.0}
            return web.Response(body=orjson.dumps([log]))
        if request.path == "/stats/summary":
            return web.Response(body=orjson.dumps(self.summary))
        return await self._echo(request)

    async def _echo(self, request: web.BaseRequest) -> web.StreamResponse:
        ws = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"))
        await ws.prepare(request)
        async for message in ws:
            self.received.append(message.data)
            if message.data == b"end":
                await ws.close(code=1000, message=b"done")
            elif message.type is web.WSMsgType.BINARY:
                await ws.send_bytes(b"echo " + message.data)
            else:
                await ws.send_str("echo " + message.data)
        self.closed.set()
        return ws

    summary: dict[str, Any] = field(default_factory=dict)


class Noting(AllowAll):
    """Notes what is asked of the authoriser."""

    def __init__(self) -> None:
        self.asked: list[Attributes] = []

    async def allow(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(True)


@pytest.fixture
async def node(certificates: Certificates) -> AsyncIterator[tuple[FakeNode, int]]:
    fake = FakeNode()
    server = web.Server(fake.handle)
    sock = socket.create_server(("127.0.0.1", 0))
    listener = await asyncio.get_running_loop().create_server(server, sock=sock, ssl=certificates.server_context())
    yield fake, sock.getsockname()[1]
    listener.close()
    await server.shutdown(0.1)


@pytest.fixture
def chain() -> Noting:
    return Noting()


@pytest.fixture
async def plane(chain: Noting, node: tuple[FakeNode, int], certificates: Certificates) -> AsyncIterator[ControlPlane]:
    link = NodeLink(certificates.client_context("apiserver"))
    async with ControlPlane(chain=Chain(chain, chain, chain), nodes=link) as running:
        client = running.client()
        await client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "n"}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": node[1]}},
        }
        merge = "application/merge-patch+json"
        await client.request("PATCH", "/api/v1/nodes/n/status", body={"status": status}, content_type=merge)
        await pod(client, "p", "n", "c")
        yield running
    await link.close()


async def pod(client: Client, name: str, node: str, *containers: str) -> None:
    spec: dict[str, Any] = {"containers": [{"name": c, "image": "i"} for c in containers]}
    body = {"metadata": {"name": name}, "spec": spec}
    await client.request("POST", "/api/v1/namespaces/ns/pods", body=body)
    if node:
        path = f"/api/v1/namespaces/ns/pods/{name}/binding"
        await client.request("POST", path, body={"target": {"kind": "Node", "name": node}})


@pytest.fixture
async def url(plane: ControlPlane, certificates: Certificates) -> AsyncIterator[str]:
    sock = socket.create_server(("127.0.0.1", 0))
    edge = HttpsEdge(plane.api.handle, certificates.server_context())
    await edge.start([sock])
    yield f"https://127.0.0.1:{sock.getsockname()[1]}"
    await edge.close()


@pytest.fixture
async def session(certificates: Certificates) -> AsyncIterator[aiohttp.ClientSession]:
    context = certificates.client_context("ann")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as opened:
        yield opened


async def test_logs_are_the_nodes(plane: ControlPlane, node: tuple[FakeNode, int]) -> None:
    client = plane.client()
    assert await client.request("GET", f"{POD}/log", query=[("follow", "true"), ("tailLines", "5")]) == b"one\ntwo\n"
    assert node[0].asked == [("/containerLogs/ns/p/c", [("follow", "true"), ("tailLines", "5")])]
    node[0].refuse = 400
    with pytest.raises(BadRequest, match="container is waiting to start"):
        await client.request("GET", f"{POD}/log")


async def test_logs_of_gone_pods_are_asked_of_every_node(plane: ControlPlane, node: tuple[FakeNode, int]) -> None:
    client, path = plane.client(), "/api/v1/namespaces/ns/pods/none/log"
    await client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "away"}})
    answer = orjson.loads(await client.request("GET", path, query=[("gone", "true")]))
    assert [(log["node"], log["uid"]) for log in answer["items"]] == [("n", "u1")]
    assert answer["unreached"][0]["node"] == "away"
    one = [("gone", "true"), ("node", "n"), ("uid", "u1"), ("container", "c"), ("tailLines", "1")]
    await client.request("GET", path, query=one)
    assert node[0].asked[-1] == ("/goneLogs/ns/none/u1/c", [("tailLines", "1")])


@pytest.mark.parametrize("name", ["../../pods", "..", "a/b", "u1?x", ""])
async def test_a_gone_pods_names_lead_nowhere_else(plane: ControlPlane, node: tuple[FakeNode, int], name: str) -> None:
    """They become a path that is asked for with the server's own rights."""
    path = "/api/v1/namespaces/ns/pods/none/log"
    for query in ([("uid", name), ("container", "c")], [("uid", "u1"), ("container", name)]):
        with pytest.raises(BadRequest):
            await plane.client().request("GET", path, query=[("gone", "true"), ("node", "n"), *query])
    assert node[0].asked == []


async def test_a_nodes_own_api_is_read_through_the_server(plane: ControlPlane, node: tuple[FakeNode, int]) -> None:
    client = plane.client()
    await client.request("GET", "/api/v1/nodes/n/proxy/goneLogs/ns/p", query=[("prefix", "true")])
    assert node[0].asked == [("/goneLogs/ns/p", [("prefix", "true")])]
    node[0].refuse = 405
    with pytest.raises(BadRequest, match="container is waiting"):
        await client.request("POST", "/api/v1/nodes/n/proxy/logs", body={})
    node[0].refuse = 0
    assert node[0].asked.pop() == ("/logs", [])
    for path in (
        "exec/ns/p/c",
        "/exec/ns/p/c",
        "metrics/../exec/ns/p/c",
        "x/%2e%2e/exec",
        "x/%252e%252e/exec",
        "./exec",
    ):
        with pytest.raises((Forbidden, NotFound)):
            await client.request("GET", f"/api/v1/nodes/n/proxy/{path}")
    assert len(node[0].asked) == 1
    with pytest.raises(NotFound):
        await client.request("GET", "/api/v1/nodes/none/proxy/metrics")


async def test_which_container_is_meant(plane: ControlPlane) -> None:
    client = plane.client()
    await pod(client, "two", "n", "a", "b")
    path = "/api/v1/namespaces/ns/pods/two/log"
    with pytest.raises(BadRequest, match=r"a container name must be specified for pod two, choose one of: \[a b\]"):
        await client.request("GET", path)
    with pytest.raises(BadRequest, match="container x is not valid for pod two"):
        await client.request("GET", path, query=[("container", "x")])
    assert await client.request("GET", path, query=[("container", "b")])
    with pytest.raises(NotFound):
        await client.request("GET", "/api/v1/namespaces/ns/pods/none/log")


async def test_a_pod_without_a_node_has_no_log_yet(plane: ControlPlane) -> None:
    client = plane.client()
    await pod(client, "waiting", "", "c")
    assert await client.request("GET", "/api/v1/namespaces/ns/pods/waiting/log") == b""


async def test_exec_is_relayed_both_ways_until_it_ends(
    plane: ControlPlane,
    url: str,
    session: aiohttp.ClientSession,
    node: tuple[FakeNode, int],
    chain: Noting,
) -> None:
    query = "?command=sh&command=-c&stdin=true&stdout=true&stderr=false"
    protocols = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    async with session.ws_connect(f"{url}{POD}/exec{query}", protocols=protocols) as ws:
        assert ws.protocol == "v5.channel.k8s.io"
        await ws.send_bytes(b"\x00hello")
        assert await ws.receive_bytes() == b"echo \x00hello"
        await ws.send_str("text")
        assert await ws.receive_str() == "echo text"
        await ws.send_bytes(b"end")
        last = await ws.receive()
        assert (last.type, last.data, last.extra) == (aiohttp.WSMsgType.CLOSE, 1000, "done")
    path, asked = node[0].asked[-1]
    uid = orjson.loads(await plane.client().request("GET", POD))["metadata"]["uid"]
    assert path == f"/exec/ns/p/{uid}/c"
    assert asked == [("command", "sh"), ("command", "-c"), ("input", "1"), ("output", "1")]
    attributes = next(entry for entry in chain.asked if entry.subresource == "exec")
    assert (attributes.verb, attributes.resource, attributes.name) == ("create", "pods", "p")


async def test_the_node_hears_when_the_client_goes(
    url: str, session: aiohttp.ClientSession, node: tuple[FakeNode, int]
) -> None:
    ws = await session.ws_connect(f"{url}{POD}/attach?stdout=true", protocols=("v4.channel.k8s.io",))
    await ws.close()
    async with asyncio.timeout(10):
        await node[0].closed.wait()


async def test_port_forward_keeps_the_subprotocol(
    url: str, session: aiohttp.ClientSession, node: tuple[FakeNode, int]
) -> None:
    async with session.ws_connect(f"{url}{POD}/portforward?ports=80", protocols=("v4.channel.k8s.io",)) as ws:
        await ws.send_bytes(b"\x00\x50\x00")
        assert await ws.receive_bytes() == b"echo \x00\x50\x00"
    assert node[0].asked[-1][1] == [("ports", "80")]


async def test_a_refusal_of_the_node_reaches_the_client(
    url: str, session: aiohttp.ClientSession, node: tuple[FakeNode, int]
) -> None:
    node[0].refuse = 404
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    async with session.get(f"{url}{POD}/exec?command=sh", headers=headers) as reply:
        assert reply.status == 400
        assert (await reply.json())["message"] == "container is waiting to start"


async def test_streams_without_a_websocket_are_refused(plane: ControlPlane) -> None:
    with pytest.raises(BadRequest, match="Upgrade request required"):
        await plane.client().request("POST", f"{POD}/exec", query=[("command", "sh")])


class OldClient:
    """A connection that asked for SPDY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.framing = spdy.Framing()

    async def event(self) -> spdy.Event:
        """The next one of the server."""
        async with asyncio.timeout(5):
            while True:
                for event in self.framing.receive(await self.reader.read(1 << 16)):
                    return event

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            while await self.reader.read(1 << 16):
                pass
        self.writer.close()


async def spoken(url: str, certificates: Certificates, query: str, *protocols: str) -> tuple[OldClient, bytes]:
    """A client, and the head of the answer to its exec."""
    host, port = url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=certificates.client_context("ann"))
    offered = "".join(f"X-Stream-Protocol-Version: {protocol}\r\n" for protocol in protocols)
    upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
    writer.write(f"POST {POD}/exec?{query} HTTP/1.1\r\nHost: a\r\n{upgrade}{offered}\r\n".encode())
    return OldClient(reader, writer), await reader.readuntil(b"\r\n\r\n")


V4 = "v4.channel.k8s.io"


async def test_spdy_needs_a_subprotocol_that_both_know(url: str, certificates: Certificates) -> None:
    client, head = await spoken(url, certificates, "command=sh", "channel.k8s.io")
    assert head.startswith(b"HTTP/1.1 400 ")
    client.writer.close()
    client, head = await spoken(url, certificates, "command=sh&stdout=true", "v5.channel.k8s.io", V4)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"x-stream-protocol-version: v4.channel.k8s.io\r\n" in head
    client.writer.close()


async def test_spdy_streams_become_channels(url: str, certificates: Certificates, node: tuple[FakeNode, int]) -> None:
    client, _ = await spoken(url, certificates, "command=sh&stdin=true&stdout=true&tty=true", V4)
    for stream, kind in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")):
        client.writer.write(client.framing.open(stream, {"streamtype": kind}))
        assert await client.event() == spdy.Replied(stream, False)
    client.writer.write(client.framing.open(9, {"streamtype": "stdout"}))
    assert await client.event() == spdy.Reset(9, spdy.REFUSED_STREAM)
    client.writer.write(client.framing.ping(1))
    assert await client.event() == spdy.Pinged(1)
    # The node here repeats what it is sent, after "echo ", whose "e" is no channel: so nothing comes back.
    client.writer.write(client.framing.data(7, b'{"Width":1,"Height":2}'))
    client.writer.write(client.framing.data(3, b"hello", fin=True))
    client.writer.close()
    await asyncio.wait_for(node[0].closed.wait(), 10)
    assert node[0].received == [b'\x04{"Width":1,"Height":2}', b"\x00hello", b"\xff\x00"]


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n" * 100, b"\x80\x02\x00\x01\x00\x00\x00\x04aaaa", b"\x80\x03\x00\x01\x00\xff\xff\xff"],
)
async def test_what_is_no_spdy_ends_the_session(
    url: str, certificates: Certificates, node: tuple[FakeNode, int], garbage: bytes
) -> None:
    client, _ = await spoken(url, certificates, "command=sh&stdin=true", V4)
    client.writer.write(garbage)
    await client.ended()
    await asyncio.wait_for(node[0].closed.wait(), 10)


async def test_a_node_that_is_away_is_named(plane: ControlPlane) -> None:
    client = plane.client()
    status = {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}
    merge = "application/merge-patch+json"
    await client.request("PATCH", "/api/v1/nodes/n/status", body={"status": status}, content_type=merge)
    with pytest.raises(ServiceUnavailable, match=r'node "n" cannot be reached at 127\.0\.0\.1:1'):
        await client.request("GET", f"{POD}/log")


async def test_metrics_come_from_the_nodes_summary(plane: ControlPlane, node: tuple[FakeNode, int]) -> None:
    client = plane.client()
    uid = orjson.loads(await client.request("GET", POD))["metadata"]["uid"]
    used = {
        "cpu": {"time": "2026-01-02T03:04:05Z", "usageNanoCores": 1_500_000},
        "memory": {"workingSetBytes": 4 << 20},
    }
    container = {"name": "c", **used}
    node[0].summary = {"node": used, "pods": [{"podRef": {"uid": uid}, "containers": [container], **used}]}
    nodes = orjson.loads(await client.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes"))
    assert nodes["kind"] == "NodeMetricsList"
    assert nodes["items"][0]["usage"] == {"cpu": "1500000n", "memory": "4096Ki"}
    one = orjson.loads(await client.request("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods/p"))
    assert (one["kind"], one["timestamp"]) == ("PodMetrics", "2026-01-02T03:04:05Z")
    assert one["containers"] == [{"name": "c", "usage": {"cpu": "1500000n", "memory": "4096Ki"}}]
    assert [path for path, _ in node[0].asked].count("/stats/summary") == 1
    with pytest.raises(NotFound):
        await client.request("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods/none")
