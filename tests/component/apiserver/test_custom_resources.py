"""Custom resources over the API: served as soon as defined, shaped and checked by their schema, in several versions."""

import asyncio
import json
from string import ascii_lowercase
from typing import Any

import orjson
import pytest
from custom_things import APPLY, DEFINITIONS, GROUP, MERGE, call, cron_tab, definition, full, path, schema, version

from pilothouse.client.client import Client
from pilothouse.machinery.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Invalid,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane


def conditions(found: Obj) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in found["status"]["conditions"]}


@pytest.fixture
async def client(plane: ControlPlane) -> Client:
    client = plane.client()
    await call(client, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    return client


async def test_a_kind_is_served_with_the_answer_to_its_definition(client: Client) -> None:
    with pytest.raises(NotFound):
        await call(client, "GET", path())
    made = await call(client, "POST", DEFINITIONS, full())
    assert conditions(made) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["status"]["acceptedNames"]["listKind"] == "CronTabList"
    created = await call(client, "POST", path(), cron_tab())
    assert (created["spec"]["image"], created["metadata"]["generation"]) == ("nginx", 1)
    listed = await call(client, "GET", path())
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("CronTabList", ["mine"])


async def test_after_a_restart_the_kind_is_there_at_once() -> None:
    async with ControlPlane() as first:
        client = first.client()
        await call(client, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
        await call(client, "POST", DEFINITIONS, full())
        await call(client, "POST", path(), cron_tab())
        again = ControlPlane(store=first.store).client()
        assert (await call(again, "GET", path(name="mine")))["kind"] == "CronTab"


async def test_a_definition_that_cannot_be_read_takes_no_other_with_it(client: Client, plane: ControlPlane) -> None:
    await call(client, "POST", DEFINITIONS, full())
    broken = b'{"kind":"CustomResourceDefinition","apiVersion":"x","metadata":{"name":"x"},"spec":{"names":5}}'
    await plane.store.create("apiextensions.k8s.io/customresourcedefinitions/x", broken)
    assert (await call(client, "GET", path()))["kind"] == "CronTabList"
    assert GROUP in str(await call(client, "GET", "/apis"))


async def test_discovery_and_openapi_follow(client: Client, plane: ControlPlane) -> None:
    async def aggregated() -> tuple[str, list[str]]:
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        response = await client.send("GET", "/apis", accept=accept)
        groups = [item["metadata"]["name"] for item in orjson.loads(response.body)["items"]]
        return response.headers["etag"], groups

    etag, groups = await aggregated()
    assert GROUP not in groups
    await call(client, "POST", DEFINITIONS, full())
    changed, groups = await aggregated()
    assert GROUP in groups
    assert changed != etag
    legacy = await call(client, "GET", f"/apis/{GROUP}/v1")
    assert [entry["name"] for entry in legacy["resources"]] == ["crontabs", "crontabs/scale", "crontabs/status"]
    assert legacy["resources"][0]["shortNames"] == ["ct"]
    index = await call(client, "GET", "/openapi/v3")
    url = index["paths"][f"apis/{GROUP}/v1"]["serverRelativeURL"]
    document = await call(client, "GET", url.partition("?")[0], hash=url.partition("=")[2])
    type_ = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert type_["x-kubernetes-group-version-kind"] == [{"group": GROUP, "version": "v1", "kind": "CronTab"}]
    assert type_["properties"]["spec"]["properties"]["image"]["description"] == "What it runs."
    assert "metadata" in type_["properties"]
    patch = document["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/crontabs/{{name}}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "CronTab"
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    everything = await call(client, "GET", "/openapi/v2")
    assert "com.example.stable.v1.CronTab" in everything["definitions"]


async def test_the_schema_is_enforced_in_upstreams_words(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    with pytest.raises(Invalid) as refused:
        await call(client, "POST", path(), cron_tab(cronSpec="daily", replicas=11))
    assert [(cause.field, cause.reason) for cause in refused.value.causes] == [
        ("spec.cronSpec", "FieldValueInvalid"),
        ("spec.replicas", "FieldValueInvalid"),
    ]
    assert "spec.replicas in body should be less than or equal to 10" in refused.value.message


async def test_unknown_fields_are_pruned_or_refused_as_asked(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    made = await call(client, "POST", path(), cron_tab(odd=1), fieldValidation="Ignore")
    assert "odd" not in made["spec"]
    with pytest.raises(BadRequest, match=r'strict decoding error: unknown field "spec.odd"'):
        await call(client, "POST", path(), cron_tab("other", odd=1), fieldValidation="Strict")
    response = await client.send("POST", path(), body=orjson.dumps(cron_tab("third", odd=1)))
    assert response.headers["warning"] == '299 - "unknown field \\"spec.odd\\""'


async def test_status_and_generation(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    await call(client, "POST", path(), {**cron_tab(), "status": {"replicas": 9}})
    changed = await call(client, "PATCH", path(name="mine"), {"status": {"replicas": 9}}, type=MERGE)
    assert "status" not in changed
    patch = {"status": {"replicas": 2, "odd": 1}, "spec": {"replicas": 7}, "metadata": {"labels": {"a": "b"}}}
    changed = await call(client, "PATCH", path(name="mine", subresource="status"), patch, type=MERGE)
    assert (changed["status"], changed["spec"]["replicas"]) == ({"replicas": 2}, 1)
    assert "labels" not in changed["metadata"]
    assert changed["metadata"]["generation"] == 1
    changed = await call(client, "PATCH", path(name="mine"), {"spec": {"replicas": 3}}, type=MERGE)
    assert changed["metadata"]["generation"] == 2
    changed = await call(client, "PATCH", path(name="mine"), {"metadata": {"labels": {"a": "b"}}}, type=MERGE)
    assert changed["metadata"]["generation"] == 2


async def test_scale(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    await call(client, "POST", path(), cron_tab(replicas=2))
    status = {"status": {"replicas": 1, "selector": "app=mine"}}
    await call(client, "PATCH", path(name="mine", subresource="status"), status, type=MERGE)
    scale = await call(client, "GET", path(name="mine", subresource="scale"))
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=mine"})
    scale["spec"]["replicas"] = 5
    await call(client, "PUT", path(name="mine", subresource="scale"), scale)
    assert (await call(client, "GET", path(name="mine")))["spec"]["replicas"] == 5
    with pytest.raises(Invalid):
        await call(client, "PATCH", path(name="mine", subresource="scale"), {"spec": {"replicas": 11}}, type=MERGE)


async def test_columns_and_selectable_fields(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    await call(client, "POST", path(), cron_tab())
    await call(client, "POST", path(), cron_tab("other", image="redis"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = orjson.loads((await client.send("GET", path(), accept=accept)).body)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Spec", "Replicas", "Age"]
    assert table["rows"][0]["cells"][:3] == ["mine", "* * * * *", 1]
    found = await call(client, "GET", path(), fieldSelector="spec.image=redis")
    assert [item["metadata"]["name"] for item in found["items"]] == ["other"]
    with pytest.raises(BadRequest, match="field label not supported"):
        await call(client, "GET", path(), fieldSelector="spec.cronSpec=x")


async def test_server_side_apply(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    await call(client, "PATCH", path(name="mine"), cron_tab(replicas=2), type=APPLY, fieldManager="one")
    with pytest.raises(Conflict, match="conflict with"):
        await call(client, "PATCH", path(name="mine"), cron_tab(replicas=3), type=APPLY, fieldManager="two")
    forced = await call(
        client, "PATCH", path(name="mine"), cron_tab(replicas=3), type=APPLY, fieldManager="two", force="true"
    )
    assert forced["spec"]["replicas"] == 3
    owners = {entry["manager"]: entry["fieldsV1"] for entry in forced["metadata"]["managedFields"]}
    assert "f:replicas" in owners["two"]["f:spec"]
    assert "f:replicas" not in owners["one"]["f:spec"]
    strategic = "application/strategic-merge-patch+json"
    with pytest.raises(UnsupportedMediaType):
        await call(client, "PATCH", path(name="mine"), {"spec": {"replicas": 1}}, type=strategic)


async def test_several_versions_of_one_object(client: Client) -> None:
    old = version("v1beta1", deprecated=True)
    await call(client, "POST", DEFINITIONS, definition(version("v1", storage=True), old))
    beta = {**cron_tab(), "apiVersion": f"{GROUP}/v1beta1"}
    made = await call(client, "POST", path("v1beta1"), beta)
    assert made["apiVersion"] == f"{GROUP}/v1beta1"
    assert (await call(client, "GET", path("v1", "mine")))["apiVersion"] == f"{GROUP}/v1"
    listed = await call(client, "GET", path("v1beta1"))
    assert [item["apiVersion"] for item in listed["items"]] == [f"{GROUP}/v1beta1"]
    response = await client.send("GET", path("v1beta1", "mine"))
    assert response.headers["warning"] == f'299 - "{GROUP}/v1beta1 CronTab is deprecated"'
    group = await call(client, "GET", f"/apis/{GROUP}")
    assert group["preferredVersion"]["version"] == "v1"


async def test_a_field_of_one_version_is_kept_and_not_shown_in_another(client: Client) -> None:
    later = version("v2")
    later["schema"] = schema(cronSpec={"type": "string"}, zone={"type": "string"})
    await call(client, "POST", DEFINITIONS, definition(version("v1", storage=True), later))
    await call(client, "POST", path("v2"), {**cron_tab(zone="UTC"), "apiVersion": f"{GROUP}/v2"})
    assert "zone" not in (await call(client, "GET", path("v1", "mine")))["spec"]
    assert (await call(client, "GET", path("v2", "mine")))["spec"]["zone"] == "UTC"


async def test_a_watch_shows_the_version_it_asked_for(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, definition(version("v1", storage=True), version("v1beta1")))

    async def watch(name: str) -> list[str]:
        seen: list[str] = []
        response = await client.send("GET", path(name), query=[("watch", "true"), ("timeoutSeconds", "60")])
        assert response.stream is not None
        async for chunk in response.stream:
            for line in chunk.splitlines():
                event = orjson.loads(line)
                seen.append(f"{event['type']} {event['object']['apiVersion']}")
            if len(seen) >= 2:
                break
        return seen

    watches = [asyncio.create_task(watch(name)) for name in ("v1", "v1beta1", "v1")]
    await asyncio.sleep(0)
    await call(client, "POST", path(), cron_tab())
    await call(client, "DELETE", path(name="mine"))
    seen = await asyncio.wait_for(asyncio.gather(*watches), 60)
    assert seen == [[f"{what} {GROUP}/{name}" for what in ("ADDED", "DELETED")] for name in ("v1", "v1beta1", "v1")]


async def test_a_new_default_shows_in_what_was_stored_before(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, definition())
    before = await call(client, "POST", path(), cron_tab())
    tree = await call(client, "GET", f"{DEFINITIONS}/crontabs.{GROUP}")
    tree["spec"]["versions"][0]["schema"] = schema(
        cronSpec={"type": "string"}, zone={"type": "string", "default": "UTC"}
    )
    await call(client, "PUT", f"{DEFINITIONS}/crontabs.{GROUP}", tree)
    found = await call(client, "GET", path(name="mine"))
    assert found["spec"]["zone"] == "UTC"
    assert found["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    found["spec"]["cronSpec"] = "1 * * * *"
    assert (await call(client, "PUT", path(name="mine"), found))["spec"]["zone"] == "UTC"


async def test_a_watch_ends_when_its_kind_is_defined_anew(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, definition())
    response = await client.send("GET", path(), query=[("watch", "true"), ("timeoutSeconds", "600")])
    assert response.stream is not None

    async def until_the_end() -> int:
        assert response.stream is not None
        return len([chunk async for chunk in response.stream])

    reading = asyncio.create_task(until_the_end())
    await asyncio.sleep(0)
    tree = await call(client, "GET", f"{DEFINITIONS}/crontabs.{GROUP}")
    tree["spec"]["versions"][0]["schema"] = schema(cronSpec={"type": "string"}, zone={"type": "string"})
    await call(client, "PUT", f"{DEFINITIONS}/crontabs.{GROUP}", tree)
    await call(client, "POST", path(), cron_tab())
    # Its client comes again from the version it saw last, and gets the object in the new shape.
    assert await asyncio.wait_for(reading, 60) == 0


async def test_names_that_are_taken_are_not_accepted(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    other = definition(plural="cts", kind="Other", shortNames=["ct"])
    made = await call(client, "POST", DEFINITIONS, other)
    assert conditions(made) == {
        "NamesAccepted": ("False", "ShortNamesConflict"),
        "Established": ("False", "NotAccepted"),
    }
    with pytest.raises(NotFound):
        await call(client, "GET", f"/apis/{GROUP}/v1/namespaces/ns/cts")


async def test_a_definition_cannot_take_the_place_of_a_built_in_kind(client: Client) -> None:
    tree = definition(version("v9", storage=True), plural="networkpolicies", kind="NetworkPolicy")
    tree["metadata"] = {
        "name": "networkpolicies.networking.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "https://example.com"},
    }
    tree["spec"]["group"] = "networking.k8s.io"
    assert conditions(await call(client, "POST", DEFINITIONS, tree))["NamesAccepted"] == ("False", "PluralConflict")
    with pytest.raises(NotFound):
        await call(client, "GET", "/apis/networking.k8s.io/v9/networkpolicies")


async def test_while_a_definition_goes_nothing_new_is_made(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, full())
    await call(client, "POST", path(), cron_tab())
    going = await call(client, "DELETE", f"{DEFINITIONS}/crontabs.{GROUP}")
    assert going["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert conditions(going)["Terminating"] == ("True", "InstanceDeletionPending")
    for attempt in (
        call(client, "POST", path(), cron_tab("other")),
        call(client, "PATCH", path(name="other"), cron_tab("other"), type=APPLY, fieldManager="one"),
    ):
        with pytest.raises(MethodNotAllowed):
            await attempt
    await call(client, "DELETE", path(name="mine"))


async def test_the_reason_why_a_definition_is_refused(client: Client) -> None:
    tree = definition(version("v1"), version("v1"))
    tree["metadata"]["name"] = "other"
    tree["spec"]["scope"] = "Everywhere"
    with pytest.raises(Invalid) as refused:
        await call(client, "POST", DEFINITIONS, tree)
    fields = {cause.field: cause.message for cause in refused.value.causes}
    assert fields["metadata.name"] == 'Invalid value: "other": must be spec.names.plural+"."+spec.group'
    assert fields["spec.scope"] == ('Unsupported value: "Everywhere": supported values: "Cluster", "Namespaced"')
    assert "must have exactly one version marked as storage version" in refused.value.message


@pytest.mark.parametrize("field", ["group", "plural"])
async def test_what_of_a_definition_stays_as_it_is(client: Client, field: str) -> None:
    made = await call(client, "POST", DEFINITIONS, full())
    if field == "group":
        made["spec"]["group"] = "other.example.com"
    else:
        made["spec"]["names"]["plural"] = "others"
    with pytest.raises(Invalid, match="field is immutable"):
        await call(client, "PUT", f"{DEFINITIONS}/crontabs.{GROUP}", made)


async def test_a_version_in_the_store_stays_in_the_definition(client: Client) -> None:
    made = await call(client, "POST", DEFINITIONS, definition(version("v1", storage=True), version("v2")))
    made["spec"]["versions"] = [version("v2", storage=True)]
    with pytest.raises(
        Invalid, match=r"status.storedVersions\[0\]: Invalid value: \"v1\": must appear in spec.versions"
    ):
        await call(client, "PUT", f"{DEFINITIONS}/crontabs.{GROUP}", made)


def deep(levels: int) -> Any:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"type": "object", "properties": {"a": found}}
    return found


HOSTILE = {
    "deep": deep(70),
    "deeper than can be written": deep(200),
    "deeper than Python goes": deep(450),
    "deep items": {"type": "array", "items": deep(300)},
    "cyclic reference": {"$ref": "#"},
    "bomb": {"type": "string", "pattern": "(" + "|".join(f"{letter}{{1000}}" for letter in ascii_lowercase) + ")"},
    "items of nothing": {"type": "array", "items": 5},
    "properties of nothing": {"type": "object", "properties": {"a": {"items": {"properties": 5}}}},
    "keys of nothing": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["a"],
        "items": {"type": "object", "properties": {"a": {"items": []}}},
    },
    "enum": {"type": "array", "items": {"type": "string", "enum": 5}},
    "bound": {"type": "array", "items": {"type": "string", "maxLength": "x"}},
    "default of another type": {"type": "string", "default": 5},
    "default that would be pruned": {"type": "object", "default": {"a": 1}},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_schema_is_refused(client: Client, name: str) -> None:
    tree = definition()
    tree["spec"]["versions"][0]["schema"] = schema(a=HOSTILE[name])
    with pytest.raises(ApiError) as refused:
        await call(client, "POST", DEFINITIONS, json.dumps(tree).encode())
    assert refused.value.code in (400, 422)
    with pytest.raises(NotFound):
        await call(client, "GET", path())


async def test_a_hostile_object_is_refused(client: Client) -> None:
    tree = definition()
    tree["spec"]["versions"][0]["schema"] = schema(a={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    await call(client, "POST", DEFINITIONS, tree)
    nested = b'{"a":' * 900 + b"1" + b"}" * 900
    body = b'{"apiVersion":"%b/v1","kind":"CronTab","metadata":{"name":"a"},"spec":{"a":%b}}' % (GROUP.encode(), nested)
    response = await client.send("POST", path(), body=body)
    assert response.status in (201, 400, 422)
    assert (await client.send("GET", path())).status == 200


async def test_a_large_definition_is_taken(client: Client) -> None:
    fields = {f"field{n}": {"type": "string", "description": "x" * 200, "maxLength": 9} for n in range(5000)}
    tree = definition()
    tree["spec"]["versions"][0]["schema"] = schema(cronSpec={"type": "string"}, **fields)
    await call(client, "POST", DEFINITIONS, tree)
    with pytest.raises(Invalid):
        await call(client, "POST", path(), cron_tab(field4999="x" * 10))
