"""APIs of other servers behind this one: asked as the user, shown in discovery, said to be away when they are."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from custom_things import call
from edge_certificates import Certificates

from pilothouse.apiserver.aggregation.proxy import identity
from pilothouse.client.client import Client
from pilothouse.client.wire import User
from pilothouse.kinds.apiregistration.api_service import APIService
from pilothouse.machinery.errors import Invalid, NotFound, ServiceUnavailable
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

GROUP = "weather.example.com"
TIDES = f"/apis/{GROUP}/v1/namespaces/ns/tides"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Extension:
    """A server of `weather.example.com/v1` that shows who asked and what."""

    def __init__(self) -> None:
        self.peers: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        peer = transport.get_extra_info("peercert")
        self.peers.append(dict(pair[0] for pair in peer["subject"])["commonName"] if peer else "")
        if request.path == f"/apis/{GROUP}/v1":
            verbs = ["get", "list", "watch"]
            tides = {"name": "tides", "singularName": "tide", "namespaced": True, "kind": "Tide", "verbs": verbs}
            listed = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/v1",
                "resources": [tides],
            }
            return web.json_response(listed)
        if request.path == "/openapi/v3":
            url = f"/openapi/v3/apis/{GROUP}/v1?hash=1"
            return web.json_response({"paths": {f"apis/{GROUP}/v1": {"serverRelativeURL": url}}})
        if request.headers.get("upgrade", "").lower() == "websocket":
            ws = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
            await ws.prepare(request)
            await ws.send_str(request.headers["X-Remote-User"])
            await ws.send_bytes(await ws.receive_bytes())
            await ws.close()
            return ws
        if request.query.get("watch"):
            stream = web.StreamResponse()
            await stream.prepare(request)
            for number in range(3):
                await stream.write(b'{"type":"ADDED","object":{"n":%d}}\n' % number)
            await stream.write_eof()
            return stream
        seen = {
            "path": request.path,
            "query": [list(pair) for pair in request.query.items()],
            "method": request.method,
            "body": (await request.read()).decode(),
            "user": request.headers.getall("X-Remote-User", []),
            "groups": request.headers.getall("X-Remote-Group", []),
            "authorization": request.headers.get("Authorization", ""),
        }
        return web.json_response(seen, status=404 if request.path.endswith("/none") else 200)


@pytest.fixture
async def plane(tmp_path: Path, certificates: Certificates) -> AsyncIterator[ControlPlane]:
    certificate, key = certificates.issue("front-proxy", "front-proxy-client")
    both = tmp_path / "front-proxy.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    async with ControlPlane(proxy_certificate=both) as running:
        yield running


class Served:
    def __init__(self, extension: Extension, runner: web.AppRunner, client: Client) -> None:
        self.extension = extension
        self.runner = runner
        self.client = client


@pytest.fixture
async def served(plane: ControlPlane, certificates: Certificates) -> AsyncIterator[Served]:
    extension = Extension()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", extension.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    await web.SockSite(runner, sock, ssl_context=certificates.server_context()).start()
    client = plane.client()
    await call(client, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    spec = {"type": "ExternalName", "externalName": "127.0.0.1", "ports": [{"port": port}]}
    service = {"metadata": {"name": "extension"}, "spec": spec}
    await call(client, "POST", "/api/v1/namespaces/ns/services", service)
    await call(client, "POST", APISERVICES, api_service(port, certificates))
    yield Served(extension, runner, client)
    await runner.cleanup()


def api_service(port: int, certificates: Certificates, **more: Any) -> Obj:
    return {
        "metadata": {"name": f"v1.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1",
            "groupPriorityMinimum": 1000,
            "versionPriority": 15,
            "service": {"namespace": "ns", "name": "extension", "port": port},
            "caBundle": base64.b64encode(certificates.ca.read_bytes()).decode(),
            **more,
        },
    }


async def available(plane: ControlPlane, status: str) -> Obj:
    """The condition once it has that status."""
    client = plane.client()
    running = asyncio.create_task(plane.api.availability.run(client))
    try:
        async with asyncio.timeout(60):
            async for event in client.watch(APIService):
                for condition in event.object.status.conditions:
                    if condition.status == status:
                        return {"reason": condition.reason, "message": condition.message}
    finally:
        running.cancel()
    raise AssertionError("the watch ended")


async def test_a_request_is_handed_on_as_the_user(served: Served) -> None:
    body = {"kind": "Tide", "spec": {}}
    seen = await call(served.client, "POST", f"{TIDES}/high%20water/set", body, dryRun="All", pretty="a b&c")
    assert (seen["method"], seen["path"]) == ("POST", f"{TIDES}/high water/set")
    assert seen["query"] == [["dryRun", "All"], ["pretty", "a b&c"]]
    assert orjson.loads(seen["body"]) == body
    assert (seen["user"], seen["groups"], seen["authorization"]) == (["admin"], ["system:masters"], "")
    assert served.extension.peers == ["front-proxy-client"]
    with pytest.raises(NotFound):
        await call(served.client, "GET", f"{TIDES}/none")


async def test_a_watch_comes_through_in_pieces(served: Served) -> None:
    response = await served.client.send("GET", TIDES, query=[("watch", "true")])
    assert response.stream is not None
    lines = b"".join([piece async for piece in response.stream]).splitlines()
    assert [orjson.loads(line)["object"]["n"] for line in lines] == [0, 1, 2]


async def test_discovery_shows_what_the_server_said(served: Served, plane: ControlPlane) -> None:
    assert (await available(plane, "True"))["reason"] == "Passed"
    groups = orjson.loads((await served.client.send("GET", "/apis", accept=AGGREGATED)).body)["items"]
    (version,) = next(group for group in groups if group["metadata"]["name"] == GROUP)["versions"]
    assert (version["freshness"], [r["resource"] for r in version["resources"]]) == ("Current", ["tides"])
    listed = await call(served.client, "GET", f"/apis/{GROUP}/v1")
    assert [resource["kind"] for resource in listed["resources"]] == ["Tide"]
    assert (await call(served.client, "GET", f"/apis/{GROUP}"))["preferredVersion"]["version"] == "v1"
    index = await call(served.client, "GET", "/openapi/v3")
    url = index["paths"][f"apis/{GROUP}/v1"]["serverRelativeURL"]
    assert (await call(served.client, "GET", url.partition("?")[0]))["path"] == f"/openapi/v3/apis/{GROUP}/v1"


async def test_a_server_that_is_away_is_told_of_and_holds_nobody_up(served: Served, plane: ControlPlane) -> None:
    await served.runner.cleanup()
    condition = await available(plane, "False")
    assert condition["reason"] == "FailedDiscoveryCheck"
    with pytest.raises(ServiceUnavailable):
        await call(served.client, "GET", TIDES)
    with pytest.raises(ServiceUnavailable, match="the server is currently unable to handle the request"):
        await call(served.client, "GET", f"/apis/{GROUP}/v1")
    groups = orjson.loads((await served.client.send("GET", "/apis", accept=AGGREGATED)).body)["items"]
    (version,) = next(group for group in groups if group["metadata"]["name"] == GROUP)["versions"]
    assert (version["freshness"], version["resources"]) == ("Stale", [])
    assert (await call(served.client, "GET", "/api/v1/namespaces/ns"))["kind"] == "Namespace"


async def test_a_service_that_is_not_there(plane: ControlPlane, certificates: Certificates) -> None:
    await call(plane.client(), "POST", APISERVICES, api_service(443, certificates))
    condition = await available(plane, "False")
    assert condition == {"reason": "ServiceNotFound", "message": 'service "extension" not found in namespace "ns"'}


async def test_what_is_served_here_is_nobody_elses(plane: ControlPlane, certificates: Certificates) -> None:
    client = plane.client()
    tree = api_service(443, certificates, group="apps")
    tree["metadata"]["name"] = "v1.apps"
    await call(client, "POST", APISERVICES, tree)
    assert (await available(plane, "True"))["reason"] == "Local"
    assert (await call(client, "GET", "/apis/apps/v1/deployments"))["kind"] == "DeploymentList"
    with pytest.raises(NotFound):
        await call(client, "GET", "/apis/apps/v1/nothing")


async def test_the_reason_why_an_api_service_is_refused(plane: ControlPlane, certificates: Certificates) -> None:
    tree = api_service(443, certificates, insecureSkipTLSVerify=True, versionPriority=0)
    tree["metadata"]["name"] = "other"
    with pytest.raises(Invalid) as refused:
        await call(plane.client(), "POST", APISERVICES, tree)
    assert [cause.field for cause in refused.value.causes] == [
        "metadata.name",
        "spec.versionPriority",
        "spec.insecureSkipTLSVerify",
    ]


def test_a_users_name_cannot_bring_headers_of_its_own() -> None:
    user = User("eve\r\nX-Remote-Group: system:masters", ("a\nb",), extra={"scopes/Ü x": ("1",)})
    assert identity(user) == [
        ("X-Remote-User", "eveX-Remote-Group: system:masters"),
        ("X-Remote-Group", "ab"),
        ("X-Remote-Extra-scopes%2F%C3%9C%20x", "1"),
    ]


async def test_a_websocket_passes_through_as_the_user(served: Served, url: str, certificates: Certificates) -> None:
    connector = aiohttp.TCPConnector(ssl=certificates.client_context("ann"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"{url}{TIDES}/high/exec", protocols=("v5.channel.k8s.io",)) as ws,
    ):
        assert ws.protocol == "v5.channel.k8s.io"
        assert await ws.receive_str() == "ann"
        await ws.send_bytes(b"x" * 100_000)
        assert await ws.receive_bytes() == b"x" * 100_000
        assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
    assert served.extension.peers[-1] == "front-proxy-client"
