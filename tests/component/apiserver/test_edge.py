"""The HTTPS edge: identity from certificates, limits, compression, streams that end with their reader."""

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from edge_certificates import Certificates

from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.whole_reply import WholeReply
from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport
from pilothouse.client.wire import User
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import ServiceUnavailable, TooLarge, Unauthorized
from pilothouse.testing.control_plane import ControlPlane


@pytest.fixture
async def client(url: str, certificates: Certificates) -> AsyncIterator[Client]:
    opened = Client(HttpsTransport(url, certificates.client_context("ann", "dev", "ops")))
    yield opened
    await opened.close()


@pytest.fixture
async def session(certificates: Certificates) -> AsyncIterator[aiohttp.ClientSession]:
    context = certificates.client_context("ann")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), auto_decompress=False) as opened:
        yield opened


async def test_the_certificate_names_user_and_groups(
    client: Client, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[User | None] = []
    authenticate = plane.api._chain.authenticator.authenticate

    async def noting(request):  # type: ignore[no-untyped-def]
        seen.append(request.user)
        return await authenticate(request)

    monkeypatch.setattr(plane.api._chain.authenticator, "authenticate", noting)
    await client.list(ConfigMap)
    assert seen == [User("ann", ("dev", "ops"))]


async def test_without_a_certificate_the_chain_decides(url: str, certificates: Certificates) -> None:
    client = Client(HttpsTransport(url, certificates.client_context("")))
    with pytest.raises(Unauthorized):
        await client.list(ConfigMap)
    await client.close()


async def test_a_certificate_of_another_authority_is_refused(
    url: str, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Certificates(tmp_path_factory.mktemp("stranger"))
    context = certificates.client_context("")
    context.load_cert_chain(*stranger.issue("admin", "admin", "system:masters"))
    client = Client(HttpsTransport(url, context))
    with pytest.raises(ServiceUnavailable):
        await client.list(ConfigMap)
    await client.close()


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    with pytest.raises(TooLarge, match="limit is 3145728 bytes"):
        await client.request("POST", "/api/v1/namespaces/ns/configmaps", body=b" " * (3 << 20) + b"{}")


async def test_large_answers_are_compressed(plane: ControlPlane, url: str, session: aiohttp.ClientSession) -> None:
    client = plane.client()
    for n in range(30):
        await client.create(ConfigMap(metadata=ObjectMeta(name=f"m{n}", namespace="ns"), data={"k": "x" * 20_000}))
    async with session.get(f"{url}/api/v1/configmaps", headers={"Accept-Encoding": "gzip"}) as reply:
        assert reply.headers["Content-Encoding"] == "gzip"
        body = await reply.read()
    assert len(body) < 60_000
    assert len(orjson.loads(gzip.decompress(body))["items"]) == 30


async def test_a_gzipped_request_is_read(url: str, session: aiohttp.ClientSession, plane: ControlPlane) -> None:
    body = gzip.compress(orjson.dumps({"metadata": {"name": "a"}, "data": {"k": "v"}}))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with session.post(f"{url}/api/v1/namespaces/ns/configmaps", data=body, headers=headers) as reply:
        assert reply.status == 201
    assert (await plane.client().get(ConfigMap, "a", "ns")).data == {"k": "v"}


async def test_a_watch_over_https_and_its_end_with_the_reader(
    plane: ControlPlane, url: str, session: aiohttp.ClientSession
) -> None:
    watchers = plane.store._state._collection("core/configmaps/").watchers  # type: ignore[attr-defined]
    async with session.get(f"{url}/api/v1/configmaps?watch=true") as reply:
        await plane.client().create(ConfigMap(metadata=ObjectMeta(name="a", namespace="ns")))
        event = orjson.loads(await reply.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
        assert len(watchers) == 1
        reply.close()
    async with asyncio.timeout(5):
        while watchers:  # noqa: ASYNC110 (the server tells nobody that a watcher is gone)
            await asyncio.sleep(0)


async def test_closing_the_store_ends_a_watch_cleanly(
    plane: ControlPlane, url: str, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{url}/api/v1/configmaps?watch=true") as reply:
        await plane.store.close()
        async with asyncio.timeout(5):
            assert await reply.content.read() == b""


async def test_closing_the_edge_ends_streams_at_once(
    plane: ControlPlane, certificates: Certificates, session: aiohttp.ClientSession
) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    edge = HttpsEdge(plane.api.handle, certificates.server_context())
    await edge.start([sock])
    async with session.get(f"https://127.0.0.1:{sock.getsockname()[1]}/api/v1/configmaps?watch=true") as reply:
        async with asyncio.timeout(1.5):
            await edge.close()
        with contextlib.suppress(aiohttp.ClientError):
            assert await reply.content.read() == b""


async def _talk(url: str, certificates: Certificates, *requests: str) -> list[bytes]:
    """The answers to requests sent one after the other on one connection; the last one's until the server closes."""
    host, port = url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=certificates.client_context("ann"))
    answers = []
    for request in requests[:-1]:
        writer.write(request.encode())
        answers.append(await reader.readuntil(b"\r\n\r\n"))
    writer.write(requests[-1].encode())
    async with asyncio.timeout(5):
        answers.append(await reader.read())
    writer.close()
    return answers


async def test_answers_have_the_form_that_http_wants(url: str, certificates: Certificates) -> None:
    head, old, last = await _talk(
        url,
        certificates,
        "HEAD /version HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /nothing/here HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        "GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert old.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"connection: keep-alive\r\n" in old
    header, _, body = last.partition(b"\r\n\r\n")
    assert b"connection: close\r\n" in header + b"\r\n"
    assert len(body) == length
    assert orjson.loads(body)["major"] == "1"


async def test_what_has_not_changed_is_answered_without_a_body(url: str, certificates: Certificates) -> None:
    ask = "GET /apis HTTP/1.1\r\nHost: a\r\n"
    (first,) = await _talk(url, certificates, f"{ask}Connection: close\r\n\r\n")
    tag = first.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()
    (answer,) = await _talk(url, certificates, f"{ask}If-None-Match: {tag}\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length" not in answer


def test_a_header_cannot_smuggle_in_another() -> None:
    with pytest.raises(ValueError, match="line break"):
        WholeReply(200, {"warning": "a\r\nset-cookie: b"}, b"")


async def test_what_is_not_http_harms_nothing(url: str, client: Client) -> None:
    host, port = url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"not TLS at all\r\n\r\n")
    await writer.drain()
    await reader.read()
    writer.close()
    assert (await client.list(ConfigMap)).items == []


async def test_a_watch_over_a_websocket(plane: ControlPlane, url: str, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{url}/api/v1/namespaces/ns/configmaps?watch=true&resourceVersion=0") as ws:
        for name in ("a", "b"):
            await plane.client().create_tree(ConfigMap.resource, {"metadata": {"name": name}}, "ns")
            event = orjson.loads(await ws.receive_str())
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", name)
