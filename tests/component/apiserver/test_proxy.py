"""pods/proxy and services/proxy, to a server that really listens."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from edge_certificates import Certificates

from pilothouse.apiserver.verbs import proxy
from pilothouse.apiserver.verbs.proxy import Address, check_host, parse_name
from pilothouse.client.client import Client
from pilothouse.client.wire import Response
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.errors import BadRequest
from pilothouse.testing.control_plane import ControlPlane


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Where a server tells what it was asked. It is on loopback, which is not allowed in earnest."""

    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/refused":
            return web.Response(status=426, text="not like that")
        if request.path == "/page":
            return web.Response(text='<a href="/next">é</a>', content_type="text/html")
        if request.path == "/moved":
            return web.Response(status=302, headers={"location": "/page"})
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await _talk(request)
        told = {
            "method": request.method,
            "path": request.path_qs,
            "body": await request.text(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
        }
        return web.json_response(told, status=202, headers={"x-from": "pod"})

    monkeypatch.setattr(proxy, "check_host", lambda host: None)
    runner = web.ServerRunner(web.Server(echo))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _talk(request: web.BaseRequest) -> web.StreamResponse:
    """Speaks first, then says twice what it is told."""
    ws = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
    await ws.prepare(request)
    await ws.send_str(f"hello at {request.path_qs}")
    async for message in ws:
        await ws.send_bytes(message.data * 2)
    return ws


async def ask(client: Client, method: str, path: str, body: bytes = b"", **query: str) -> tuple[Response, Any]:
    import orjson

    answer = await client.send(method, path, query=list(query.items()), body=body)
    if answer.stream is not None:
        answer.body = b"".join([chunk async for chunk in answer.stream])
    return answer, orjson.loads(answer.body)


async def pod(client: Client, port: int) -> None:
    spec = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": port}]}]}
    await client.create_tree(Pod.resource, {"metadata": {"name": "proxy"}, "spec": spec}, "ns")
    await client.patch(Pod, "proxy", "ns", {"status": {"podIP": "127.0.0.1"}}, subresource="status")


async def test_a_pod_answers_through_the_server(plane: ControlPlane, port: int) -> None:
    client = plane.client()
    await pod(client, port)
    for name in ("proxy", f"proxy:{port}", f"http:proxy:{port}"):
        answer, told = await ask(client, "POST", f"/api/v1/namespaces/ns/pods/{name}/proxy/a/b", b"hello", x="1 2")
        assert (answer.status, answer.headers["x-from"]) == (202, "pod")
        assert (told["method"], told["path"], told["body"]) == ("POST", "/a/b?x=1+2", "hello")
        assert not {"authorization", "cookie"} & told["headers"].keys()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer, told = await ask(client, method, "/api/v1/namespaces/ns/pods/proxy/proxy/")
        assert (answer.status, told["method"], told["path"]) == (202, method, "/")
    assert (await client.send("OPTIONS", "/api/v1/namespaces/ns/pods/proxy")).status == 405
    _, told = await ask(client, "POST", "/api/v1/namespaces/ns/pods/proxy/proxy")
    assert told["path"] == "/"


async def test_links_lead_through_the_server_again(plane: ControlPlane, port: int) -> None:
    client = plane.client()
    await pod(client, port)
    there = "/api/v1/namespaces/ns/pods/proxy/proxy"
    bare = await client.send("GET", there, query=[("a", "b c")])
    assert (bare.status, bare.headers["location"]) == (301, f"{there}/?a=b+c")
    page = await client.send("GET", f"{there}/page")
    assert page.stream is not None
    assert b"".join([chunk async for chunk in page.stream]).decode() == f'<a href="{there}/next">é</a>'
    moved = await client.send("GET", f"{there}/moved")
    assert (moved.status, moved.headers["location"]) == (302, f"{there}/page")


async def test_a_service_leads_to_a_ready_endpoint(plane: ControlPlane, port: int) -> None:
    client = plane.client()
    spec = {"ports": [{"name": "web", "port": 80, "targetPort": port}]}
    await client.create_tree(Service.resource, {"metadata": {"name": "shop"}, "spec": spec}, "ns")
    path = "/api/v1/namespaces/ns/services/{}/proxy/"
    answer, told = await ask(client, "GET", path.format("shop"))
    assert (answer.status, told["message"]) == (503, 'no endpoints available for service "shop"')
    labels = {"kubernetes.io/service-name": "shop"}
    endpoints = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}}]}
    tree = {"metadata": {"name": "shop-1", "labels": labels}, "ports": [{"name": "web", "port": port}], **endpoints}
    await client.create_tree(EndpointSlice.resource, tree, "ns")
    record = plane.store.get("discovery.k8s.io/endpointslices/ns/shop-1")
    assert record is not None
    # The rules refuse loopback addresses, where the server of this test is.
    value = record.value.replace(b'"resourceVersion":"%d",' % record.revision, b"").replace(b"10.0.0.9", b"127.0.0.1")
    await plane.store.update(record.key, value, record.revision)
    for name in ("shop", "shop:web", "shop:80", "http:shop:web"):
        answer, told = await ask(client, "GET", path.format(name) + "x")
        assert (answer.status, told["path"]) == (202, "/x")
    answer, told = await ask(client, "GET", path.format("shop:other"))
    assert answer.status == 503


async def test_a_websocket_passes_through(plane: ControlPlane, port: int, url: str, certificates: Certificates) -> None:
    await pod(plane.client(), port)
    there = f"{url}/api/v1/namespaces/ns/pods/proxy/proxy"
    connector = aiohttp.TCPConnector(ssl=certificates.client_context("ann"))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.ws_connect(f"{there}/chat?x=1", protocols=("chat",), max_msg_size=0) as ws:
            assert ws.protocol == "chat"
            assert await ws.receive_str() == "hello at /chat?x=1"
            for size in (1, 3 << 20):
                await ws.send_bytes(b"a" * size)
                assert await ws.receive_bytes() == b"a" * 2 * size
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{there}/refused")
        assert refused.value.status == 426


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "0.0.0.0", "224.0.0.1", "metadata.internal"])
def test_this_hosts_own_addresses_are_not_for_others(host: str) -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        check_host(host)


def test_names() -> None:
    assert parse_name("web") == Address("http", "web", "")
    assert parse_name("https:web:8443") == Address("https", "web", "8443")
    with pytest.raises(BadRequest):
        parse_name("ftp:web:21")
