"""get, list and watch: forms, selectors, pages, versions."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import orjson
import pytest
import yaml

from pilothouse.client.client import Client
from pilothouse.client.wire import Request, Response
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import BadRequest, Expired, Invalid, NotFound, Timeout
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ADMIN, ControlPlane

PATH = "/api/v1/namespaces/ns/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def make(client: Client, name: str, namespace: str = "ns", **labels: str) -> ConfigMap:
    return await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, labels=labels)))


async def get(client: Client, path: str, accept: str = "application/json", **query: str) -> Obj:
    response = await client.send("GET", path, query=list(query.items()), accept=accept)
    body = response.body if response.stream is None else b"".join([piece async for piece in response.stream])
    assert response.status == 200, body
    tree: Obj = orjson.loads(body)
    return tree


def names(tree: Obj) -> list[str]:
    return [item["metadata"]["name"] for item in tree["items"]]


async def test_get_of_what_is_not_there(plane: ControlPlane) -> None:
    with pytest.raises(NotFound) as caught:
        await plane.client().get(ConfigMap, "a", "ns")
    assert (caught.value.message, caught.value.name, caught.value.kind) == (
        'configmaps "a" not found',
        "a",
        "configmaps",
    )


async def test_selectors(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a", app="x")
    await make(client, "b", app="y")
    await make(client, "a", "other", app="x")
    assert names(await get(client, PATH, labelSelector="app in (x)")) == ["a"]
    assert names(await get(client, PATH, labelSelector="app!=x")) == ["b"]
    assert names(await get(client, PATH, fieldSelector="metadata.name=b")) == ["b"]
    everywhere = await get(client, "/api/v1/configmaps", fieldSelector="metadata.namespace=other")
    assert names(everywhere) == ["a"]
    assert len(names(await get(client, "/api/v1/configmaps", fieldSelector="metadata.name=a"))) == 2
    with pytest.raises(BadRequest, match="field label not supported"):
        await client.request("GET", PATH, query=[("fieldSelector", "spec.x=y")])
    with pytest.raises(BadRequest):
        await client.request("GET", PATH, query=[("labelSelector", "a in")])


async def test_pages_keep_the_first_pages_version(plane: ControlPlane) -> None:
    client = plane.client()
    for name in "abcde":
        await make(client, name)
    first = await get(client, PATH, limit="2")
    assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    await client.delete(ConfigMap, "c", "ns")
    await make(client, "cc")
    second = await get(client, PATH, limit="2", **{"continue": first["metadata"]["continue"]})
    assert names(second) == ["c", "d"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    last = await get(client, PATH, limit="2", **{"continue": second["metadata"]["continue"]})
    assert names(last) == ["e"]
    assert "continue" not in last["metadata"]


async def test_versions_of_lists(plane: ControlPlane) -> None:
    client = plane.client()
    first = await make(client, "a")
    await make(client, "b")
    version = first.metadata.resource_version
    exact = await get(client, PATH, resourceVersion=version, resourceVersionMatch="Exact")
    assert (names(exact), exact["metadata"]["resourceVersion"]) == (["a"], version)
    newer = await get(client, PATH, resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert names(newer) == ["a", "b"]
    with pytest.raises(Timeout, match="Too large resource version"):
        await client.request("GET", PATH, query=[("resourceVersion", "999")])
    with pytest.raises(Invalid, match="forbidden unless resourceVersion is provided"):
        await client.request("GET", PATH, query=[("resourceVersionMatch", "Exact")])
    with pytest.raises(BadRequest):
        await client.request("GET", PATH, query=[("resourceVersion", "x")])


async def test_what_is_compacted_is_gone() -> None:
    async with ControlPlane(store=MemoryStore(window_events=3)) as plane:
        client = plane.client()
        await make(client, "a")
        page = await get(client, PATH, limit="1")
        for name in "bcdef":
            await make(client, name)
        page = await get(client, PATH, limit="1", resourceVersion="1", resourceVersionMatch="NotOlderThan")
        token = page["metadata"]["continue"]
        for name in "ghijk":
            await make(client, name)
        with pytest.raises(Expired, match="too old to display a consistent list"):
            await client.request("GET", PATH, query=[("limit", "1"), ("continue", token)])
        watching = client.watch(ConfigMap, "ns", resource_version="1")
        with pytest.raises(Expired):
            await anext(watching)


async def test_tables_and_metadata(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a")
    table = await get(client, PATH, TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["columnDefinitions"][0]["name"] == "Name"
    assert table["rows"][0]["cells"][0] == "a"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert (await get(client, f"{PATH}/a", TABLE, includeObject="Object"))["rows"][0]["object"]["kind"] == "ConfigMap"
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    partial = await get(client, PATH, accept)
    assert (partial["kind"], partial["items"][0]["kind"]) == ("PartialObjectMetadataList", "PartialObjectMetadata")
    assert "data" not in partial["items"][0]


async def test_a_large_list_comes_in_pieces(plane: ControlPlane) -> None:
    client = plane.client()
    for n in range(40):
        await client.create(ConfigMap(metadata=ObjectMeta(name=f"m{n:02}", namespace="ns"), data={"k": "x" * 20_000}))
    response = await client.send("GET", PATH)
    assert response.stream is not None
    pieces = [piece async for piece in response.stream]
    assert max(map(len, pieces)) < 300_000
    assert len(orjson.loads(b"".join(pieces))["items"]) == 40


class Lines:
    """The events of a watch, one at a time."""

    def __init__(self, response: Response) -> None:
        assert response.status == 200, response.body
        assert response.stream is not None
        self._stream = response.stream
        self._lines: list[bytes] = []

    async def next(self) -> Obj:
        while not self._lines:
            async with asyncio.timeout(5):
                self._lines = (await anext(self._stream)).splitlines()
        event: Obj = orjson.loads(self._lines.pop(0))
        return event

    async def some(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


async def watch(client: Client, accept: str = "application/json", **query: str) -> Lines:
    return Lines(await client.send("GET", PATH, query=[("watch", "true"), *query.items()], accept=accept))


async def test_a_watch_without_a_version_begins_with_what_exists(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a")
    lines = await watch(client)
    await make(client, "b")
    await client.patch(ConfigMap, "a", "ns", {"data": {"k": "v"}})
    await client.delete(ConfigMap, "a", "ns")
    assert await lines.some(4) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_from_a_version_replays_what_came_after(plane: ControlPlane) -> None:
    client = plane.client()
    first = await make(client, "a")
    await make(client, "b")
    lines = await watch(client, resourceVersion=first.metadata.resource_version)
    assert await lines.some(1) == [("ADDED", "b")]


async def test_an_object_that_stops_matching_is_deleted_for_the_watcher(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a", app="x")
    lines = await watch(client, labelSelector="app=x")
    assert await lines.some(1) == [("ADDED", "a")]
    moved = await client.patch(ConfigMap, "a", "ns", {"metadata": {"labels": {"app": "y"}}})
    event = await lines.next()
    assert event["type"] == "DELETED"
    assert event["object"]["metadata"]["labels"] == {"app": "x"}
    assert event["object"]["metadata"]["resourceVersion"] == moved.metadata.resource_version
    await client.patch(ConfigMap, "a", "ns", {"data": {"k": "v"}})
    await client.patch(ConfigMap, "a", "ns", {"metadata": {"labels": {"app": "x"}}})
    assert await lines.some(1) == [("ADDED", "a")]


async def test_initial_events_end_with_a_marked_bookmark(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a")
    options = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    lines = await watch(client, **options)
    assert (await lines.next())["type"] == "ADDED"
    mark = await lines.next()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["object"]["kind"] == "ConfigMap"
    with pytest.raises(Invalid, match="requires setting resourceVersionMatch"):
        await client.request("GET", PATH, query=[("watch", "true"), ("sendInitialEvents", "true")])


async def test_bookmarks_come_when_nothing_happens(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilothouse.apiserver.verbs.watch.BOOKMARK_SECONDS", 0.05)
    client = plane.client()
    lines = await watch(client, allowWatchBookmarks="true", resourceVersion="0")
    await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="elsewhere")))
    event = await lines.next()
    while event["object"]["metadata"]["resourceVersion"] != "1":
        event = await lines.next()
    assert event["type"] == "BOOKMARK"


async def test_a_watch_ends_after_its_time(plane: ControlPlane) -> None:
    response = await plane.client().send("GET", PATH, query=[("watch", "1"), ("timeoutSeconds", "1")])
    assert response.stream is not None
    async with asyncio.timeout(5):
        assert [piece async for piece in response.stream] == []


async def test_a_table_watch_has_columns_in_its_first_event_only(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a")
    lines = await watch(client, TABLE)
    assert (await lines.next())["object"]["columnDefinitions"]
    await make(client, "b")
    second = await lines.next()
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_watchers_share_the_encoded_event(plane: ControlPlane) -> None:
    client = plane.client()
    responses = [await client.send("GET", PATH, query=[("watch", "true")]) for _ in range(2)]
    await make(client, "a")
    streams: list[AsyncIterator[bytes]] = [r.stream for r in responses if r.stream is not None]
    first, second = [await anext(stream) for stream in streams]
    assert first == second


async def test_trailing_slashes_and_documents(plane: ControlPlane) -> None:
    client = plane.client()
    assert (await get(client, "/version/"))["gitVersion"].startswith("v1.35.")
    assert (await get(client, "/api/"))["versions"] == ["v1"]
    legacy = await get(client, "/api/v1")
    eviction = next(entry for entry in legacy["resources"] if entry["name"] == "pods/eviction")
    assert (eviction["kind"], eviction["group"], eviction["version"]) == ("Eviction", "policy", "v1")
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    response = await client.send("GET", "/apis", accept=accept)
    assert orjson.loads(response.body)["kind"] == "APIGroupDiscoveryList"
    etag = response.headers["etag"]
    headers = {"accept": accept, "if-none-match": etag}
    again = await plane.api.handle(Request("GET", "/apis", headers=headers, user=ADMIN))
    assert (again.status, again.body) == (304, b"")


async def test_a_busy_watch_misses_nothing(plane: ControlPlane) -> None:
    client = plane.client()
    lines = await watch(client, resourceVersion="0")
    await asyncio.gather(*(make(client, f"m{n}") for n in range(300)))
    assert await lines.some(300) == [("ADDED", f"m{n}") for n in range(300)]


async def test_metrics_name_only_what_is_served(plane: ControlPlane) -> None:
    client = plane.client()
    await client.send("GET", PATH)
    await client.send("GET", "/apis/evil.example/v1/anything")
    text = (await client.request("GET", "/metrics")).decode()
    assert 'apiserver_request_total{verb="list",group="",resource="configmaps",code="200"} 1' in text
    assert "evil" not in text


async def test_health(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    client = plane.client()
    assert await client.request("GET", "/livez") == b"ok"
    assert b"[+]store ok\nreadyz check passed" in await client.request("GET", "/readyz", query=[("verbose", "")])
    monkeypatch.setattr(MemoryStore, "problem", "the disk is full")
    failed = await client.send("GET", "/readyz")
    assert (failed.status, b"[-]store failed: the disk is full" in failed.body) == (500, True)
    assert await client.request("GET", "/readyz/ping") == b"ok"


async def test_an_answer_in_yaml_for_who_asks_for_it(plane: ControlPlane) -> None:
    client = plane.client()
    path = "/api/v1/namespaces/ns/configmaps"
    body = b"metadata: {name: a}\ndata: {k: 'yes', n: \"1\"}\n"
    made = await client.send("POST", path, body=body, content_type="application/yaml", accept="application/yaml")
    assert (made.status, made.headers["content-type"]) == (201, "application/yaml")
    plain = await client.send("GET", f"{path}/a")
    assert yaml.safe_load(made.body) == orjson.loads(plain.body)
    listed = await client.send("GET", path, accept="application/yaml, application/json")
    assert [item["data"] for item in yaml.safe_load(listed.body)["items"]] == [{"k": "yes", "n": "1"}]
    missing = await client.send("GET", f"{path}/b", accept="application/yaml")
    assert yaml.safe_load(missing.body)["reason"] == "NotFound"
    usual = await client.send("GET", f"{path}/a", accept="application/json, application/yaml")
    assert usual.headers["content-type"] == "application/json"


@pytest.mark.parametrize("query", ["limit=x", "timeoutSeconds=x", "watch=true&timeoutSeconds=x"])
async def test_an_option_that_is_no_number_is_told(plane: ControlPlane, query: str) -> None:
    with pytest.raises(BadRequest, match=r'(limit|timeoutSeconds): Invalid value: "x": must be a number'):
        await plane.client().request("GET", "/api/v1/pods", query=parse_qsl(query))
