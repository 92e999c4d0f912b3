"""Custom resources in versions that a webhook converts between."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from custom_things import DEFINITIONS, GROUP, MERGE, call, definition, path, schema, version
from edge_certificates import Certificates

from pilothouse.client.client import Client
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane


class Webhook:
    """v1 has `cronSpec`, v2 the same as five fields in a list."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.spoil: Callable[[Obj], Any] = lambda review: review

    async def answer(self, request: web.Request) -> web.Response:
        review = orjson.loads(await request.read())
        asked = review["request"]
        self.calls.append(len(asked["objects"]))
        converted = [self._convert(obj, asked["desiredAPIVersion"]) for obj in asked["objects"]]
        response = {"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": converted}
        reply = self.spoil({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})
        return web.Response(body=orjson.dumps(reply), content_type="application/json")

    def _convert(self, obj: Obj, wanted: str) -> Obj:
        spec = dict(obj["spec"])
        if wanted.endswith("v2") and "cronSpec" in spec:
            spec["fields"] = spec.pop("cronSpec").split()
        elif wanted.endswith("v1") and "fields" in spec:
            spec["cronSpec"] = " ".join(spec.pop("fields"))
        return {**obj, "apiVersion": wanted, "spec": spec}


@pytest.fixture
async def webhook(certificates: Certificates) -> AsyncIterator[tuple[Webhook, Obj]]:
    """A running webhook, and its clientConfig."""
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/convert", hook.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, sock, ssl_context=certificates.server_context()).start()
    url = f"https://127.0.0.1:{sock.getsockname()[1]}/convert"
    yield hook, {"url": url, "caBundle": base64.b64encode(certificates.ca.read_bytes()).decode()}
    await runner.cleanup()


def two_versions(config: Obj) -> Obj:
    v2 = version("v2")
    v2["schema"] = schema(
        fields={"type": "array", "items": {"type": "string"}}, zone={"type": "string", "default": "UTC"}
    )
    tree = definition(version("v1", storage=True), v2)
    webhook = {"clientConfig": config, "conversionReviewVersions": ["v1"]}
    tree["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    return tree


def tab(name: str, api: str = "v1", **spec: Any) -> Obj:
    return {"apiVersion": f"{GROUP}/{api}", "kind": "CronTab", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def client(plane: ControlPlane, webhook: tuple[Webhook, Obj]) -> Client:
    client = plane.client()
    await call(client, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    await call(client, "POST", DEFINITIONS, two_versions(webhook[1]))
    return client


async def test_what_is_written_in_one_version_is_read_in_the_other(client: Client) -> None:
    await call(client, "POST", path(), tab("one", cronSpec="1 * * * *"))
    found = await call(client, "GET", path("v2", "one"))
    assert (found["apiVersion"], found["spec"]) == (f"{GROUP}/v2", {"fields": ["1", "*", "*", "*", "*"], "zone": "UTC"})
    made = await call(client, "POST", path("v2"), tab("two", "v2", fields=["2", "*"]))
    assert made["spec"]["fields"] == ["2", "*"]
    assert (await call(client, "GET", path("v1", "two")))["spec"] == {"cronSpec": "2 *"}
    changed = await call(client, "PATCH", path("v2", "one"), {"spec": {"fields": ["3"]}}, type=MERGE)
    assert changed["spec"]["fields"] == ["3"]
    assert (await call(client, "GET", path("v1", "one")))["spec"] == {"cronSpec": "3"}
    selected = await call(client, "GET", path("v2"), fieldSelector="metadata.name=one")
    assert [item["spec"]["fields"] for item in selected["items"]] == [["3"]]
    assert (await call(client, "DELETE", path("v2", "one")))["status"] == "Success"


async def test_a_list_is_converted_at_once_and_remembered(client: Client, webhook: tuple[Webhook, Obj]) -> None:
    for number in range(5):
        await call(client, "POST", path(), tab(f"tab{number}", cronSpec="* *"))
    webhook[0].calls.clear()
    for _ in range(2):
        listed = await call(client, "GET", path("v2"))
        assert [item["spec"]["fields"] for item in listed["items"]] == [["*", "*"]] * 5
    assert webhook[0].calls == [5]
    # Those who ask for the version that is stored do not wait for anybody.
    await call(client, "GET", path("v1"))
    assert webhook[0].calls == [5]


async def test_a_watch_is_converted(client: Client) -> None:
    await call(client, "POST", path(), tab("one", cronSpec="1 *"))
    response = await client.send("GET", path("v2"), query=[("watch", "true"), ("timeoutSeconds", "60")])
    assert response.stream is not None

    async def first_two() -> list[Obj]:
        events: list[Obj] = []
        assert response.stream is not None
        async for chunk in response.stream:
            events += [orjson.loads(line) for line in chunk.splitlines()]
            if len(events) == 1:
                await call(client, "PATCH", path("v1", "one"), {"spec": {"cronSpec": "2 *"}}, type=MERGE)
            if len(events) >= 2:
                break
        return events

    events = await asyncio.wait_for(first_two(), 60)
    assert [(event["type"], event["object"]["spec"]["fields"]) for event in events] == [
        ("ADDED", ["1", "*"]),
        ("MODIFIED", ["2", "*"]),
    ]


def renamed(review: Obj) -> Obj:
    review["response"]["convertedObjects"][0]["metadata"]["name"] = "other"
    return review


def lost(review: Obj) -> Obj:
    review["response"]["convertedObjects"] = []
    return review


def refusing(review: Obj) -> Obj:
    return {**review, "response": {**review["response"], "result": {"status": "Failure", "message": "not today"}}}


def another(review: Obj) -> Obj:
    return {**review, "response": {**review["response"], "uid": "x"}}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (renamed, "has a different name"),
        (lost, "webhook returned 0 objects, expected 1"),
        (refusing, "not today"),
        (another, "expected response.uid"),
        (lambda review: [], "no response provided"),
        (lambda review: {**review, "response": {**review["response"], "convertedObjects": [5]}}, "is not an object"),
    ],
)
async def test_a_webhook_that_answers_badly_fails_that_request(
    client: Client, webhook: tuple[Webhook, Obj], spoil: Callable[[Obj], Any], why: str
) -> None:
    await call(client, "POST", path(), tab("one", cronSpec="1 *"))
    webhook[0].spoil = spoil
    with pytest.raises(ApiError, match=why) as error:
        await call(client, "GET", path("v2", "one"))
    assert f"conversion webhook for {GROUP}/v2, Kind=CronTab failed" in error.value.message
    assert (await call(client, "GET", path("v1", "one")))["spec"] == {"cronSpec": "1 *"}


async def test_a_webhook_that_is_away_is_named(plane: ControlPlane) -> None:
    client = plane.client()
    await call(client, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    service = {"service": {"namespace": "ns", "name": "hook"}}
    await call(client, "POST", DEFINITIONS, two_versions(service))
    await call(client, "POST", path(), tab("one", cronSpec="1 *"))
    with pytest.raises(ApiError, match='service "hook" not found in namespace "ns"'):
        await call(client, "GET", path("v2", "one"))
