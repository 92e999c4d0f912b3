"""create, update, patch, apply: what is refused, what is kept, and what happens when writers meet."""

import asyncio
from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.machinery.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

CONFIG_MAPS = "/api/v1/namespaces/ns/configmaps"


def deployment(name: str, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


async def post(client: Client, path: str, tree: Obj, **query: str) -> Obj:
    body: Obj = orjson.loads(await client.request("POST", path, body=tree, query=list(query.items())))
    return body


async def put(client: Client, path: str, tree: Obj) -> Obj:
    body: Obj = orjson.loads(await client.request("PUT", path, body=tree))
    return body


async def test_create_fills_in_identity_and_refuses_a_second(plane: ControlPlane) -> None:
    client = plane.client()
    made = await post(client, CONFIG_MAPS, {"metadata": {"name": "a", "uid": "mine"}, "data": {"k": "v"}})
    meta = made["metadata"]
    assert (made["kind"], made["apiVersion"], meta["namespace"]) == ("ConfigMap", "v1", "ns")
    assert meta["uid"] != "mine"
    assert meta["creationTimestamp"].endswith("Z")
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}})


async def test_generate_name(plane: ControlPlane) -> None:
    made = await post(plane.client(), CONFIG_MAPS, {"metadata": {"generateName": "x-"}})
    assert made["metadata"]["name"].startswith("x-")
    assert len(made["metadata"]["name"]) == 7


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"metadata": {"name": "a", "namespace": "other"}}, "does not match the namespace"),
        ({"metadata": {"name": "a", "resourceVersion": "3"}}, "resourceVersion should not be set"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, "cannot be handled as a ConfigMap"),
        ({"metadata": {"name": "a"}, "data": {"k": 1}}, "data.k"),
        ([], "not an object"),
    ],
)
async def test_create_refuses_what_it_cannot_read(plane: ControlPlane, tree: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        await post(plane.client(), CONFIG_MAPS, tree)


async def test_create_without_a_name_is_invalid(plane: ControlPlane) -> None:
    with pytest.raises(Invalid, match="name or generateName is required"):
        await post(plane.client(), CONFIG_MAPS, {"metadata": {}})


async def test_dry_run_stores_nothing(plane: ControlPlane) -> None:
    client = plane.client()
    made = await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}}, dryRun="All")
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    assert await client.find(ConfigMap, "a", "ns") is None


async def test_unknown_fields_are_warned_of_refused_or_dropped(plane: ControlPlane) -> None:
    client = plane.client()
    body = b'{"metadata":{"name":"a"},"dta":{},"data":{"x":"1","x":"2"}}'
    with pytest.raises(BadRequest, match=r'unknown field "dta", duplicate field "data\.x"'):
        await client.request("POST", CONFIG_MAPS, body=body, query=[("fieldValidation", "Strict")])
    warned = await client.send("POST", CONFIG_MAPS, body=body, query=[("dryRun", "All")])
    assert warned.status == 201
    assert '299 - "unknown field \\"dta\\"' in warned.headers["warning"]
    ignored = await client.send("POST", CONFIG_MAPS, body=body, query=[("fieldValidation", "Ignore")])
    assert "warning" not in ignored.headers
    assert "dta" not in orjson.loads(ignored.body)


async def test_yaml_bodies(plane: ControlPlane) -> None:
    client = plane.client()
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations: {day: 2026-01-02}\ndata: {k: v}\n"
    made = await client.request("POST", CONFIG_MAPS, body=body, content_type="application/yaml")
    assert orjson.loads(made)["metadata"]["annotations"] == {"day": "2026-01-02"}
    with pytest.raises(BadRequest, match="line 1, column 5"):
        await client.request("POST", CONFIG_MAPS, body=b"a: b: c", content_type="application/yaml")


async def test_update_without_a_version_is_unconditional_and_with_an_old_one_a_conflict(plane: ControlPlane) -> None:
    client = plane.client()
    first = await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    await put(client, f"{CONFIG_MAPS}/a", {"metadata": {"name": "a"}, "data": {"k": "2"}})
    first["data"] = {"k": "3"}
    with pytest.raises(Conflict) as caught:
        await put(client, f"{CONFIG_MAPS}/a", first)
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to'
        " the latest version and try again"
    )
    assert (await client.get(ConfigMap, "a", "ns")).data == {"k": "2"}


async def test_update_keeps_identity_and_refuses_another(plane: ControlPlane) -> None:
    client = plane.client()
    first = await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}})
    again = await put(client, f"{CONFIG_MAPS}/a", {"metadata": {}, "data": {"k": "v"}})
    for field in ("name", "namespace", "uid", "creationTimestamp"):
        assert again["metadata"][field] == first["metadata"][field]
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await put(client, f"{CONFIG_MAPS}/a", {"metadata": {"name": "b"}})
    with pytest.raises(Conflict, match="UID in precondition: other"):
        await put(client, f"{CONFIG_MAPS}/a", {"metadata": {"name": "a", "uid": "other"}})
    with pytest.raises(NotFound, match='configmaps "b" not found'):
        await put(client, f"{CONFIG_MAPS}/b", {"metadata": {"name": "b"}})


async def test_an_update_that_changes_nothing_writes_nothing(plane: ControlPlane) -> None:
    client = plane.client()
    first = await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    assert await put(client, f"{CONFIG_MAPS}/a", first) == first
    patched = await client.patch(ConfigMap, "a", "ns", {"data": {"k": "v"}})
    assert patched.metadata.resource_version == first["metadata"]["resourceVersion"]


async def test_generation_counts_changes_of_the_spec_only(plane: ControlPlane) -> None:
    client = plane.client()
    path = "/apis/apps/v1/namespaces/ns/deployments"
    assert (await post(client, path, deployment("a")))["metadata"]["generation"] == 1
    labelled = await client.patch(Deployment, "a", "ns", {"metadata": {"labels": {"x": "y"}}})
    assert labelled.metadata.generation == 1
    scaled = await client.patch(Deployment, "a", "ns", {"spec": {"replicas": 3}})
    assert scaled.metadata.generation == 2


async def test_status_is_written_through_its_subresource_only(plane: ControlPlane) -> None:
    client = plane.client()
    tree = deployment("a")
    tree["status"] = {"replicas": 7}
    made = await post(client, "/apis/apps/v1/namespaces/ns/deployments", tree)
    assert made["status"] == {}
    assert [list(entry["fieldsV1"]) for entry in made["metadata"]["managedFields"]] == [["f:spec"]]
    main = await client.patch(Deployment, "a", "ns", {"status": {"replicas": 7}})
    assert main.status.replicas == 0
    status = await client.patch(
        Deployment, "a", "ns", {"status": {"replicas": 2}, "spec": {"replicas": 9}}, subresource="status"
    )
    assert (status.status.replicas, status.spec.replicas, status.metadata.generation) == (2, 1, 1)


async def test_owned_fields_are_written_in_order(plane: ControlPlane) -> None:
    client = plane.client()
    tree = {"data": {"b": "1", "a": "1"}, "metadata": {"name": "x", "labels": {"l": ""}}}
    made = await post(client, CONFIG_MAPS, tree)
    (entry,) = made["metadata"]["managedFields"]
    assert orjson.dumps(entry["fieldsV1"]) == orjson.dumps(entry["fieldsV1"], option=orjson.OPT_SORT_KEYS)


async def test_concurrent_patches_all_take_effect(plane: ControlPlane) -> None:
    client = plane.client()
    await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}})
    await asyncio.gather(*(client.patch(ConfigMap, "a", "ns", {"data": {f"k{n}": "v"}}) for n in range(12)))
    assert len((await client.get(ConfigMap, "a", "ns")).data) == 12


async def test_strategic_and_json_patches(plane: ControlPlane) -> None:
    client = plane.client()
    await post(client, "/apis/apps/v1/namespaces/ns/deployments", deployment("a"))
    path = "/apis/apps/v1/namespaces/ns/deployments/a"
    change: Any = {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}}}
    body = await client.request("PATCH", path, body=change, content_type="application/strategic-merge-patch+json")
    assert [c["name"] for c in orjson.loads(body)["spec"]["template"]["spec"]["containers"]] == ["d", "c"]
    change = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]
    body = await client.request("PATCH", path, body=change, content_type="application/json-patch+json")
    assert orjson.loads(body)["spec"]["replicas"] == 4
    with pytest.raises(Invalid):
        await client.request("PATCH", path, body=change, content_type="application/json-patch+json")


async def test_apply_creates_owns_and_conflicts(plane: ControlPlane) -> None:
    client = plane.client()
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "1"}}
    await client.patch(ConfigMap, "a", "ns", wanted, type="apply", field_manager="one")
    wanted["data"] = {"k": "2"}
    with pytest.raises(Conflict, match="one"):
        await client.patch(ConfigMap, "a", "ns", wanted, type="apply", field_manager="two")
    forced = await client.patch(ConfigMap, "a", "ns", wanted, type="apply", field_manager="two", force=True)
    assert forced.data == {"k": "2"}
    again = await client.patch(ConfigMap, "a", "ns", wanted, type="apply", field_manager="two")
    assert again.metadata.resource_version == forced.metadata.resource_version


async def test_an_apply_whose_fields_come_back_changed_is_no_write_the_second_time(plane: ControlPlane) -> None:
    client = plane.client()
    wanted = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "stringData": {"k": "1"},
    }
    versions = [
        (await client.patch(Secret, "a", "ns", wanted, type="apply", field_manager="one")).metadata.resource_version
        for _ in range(3)
    ]
    # The second gives back what the first stored as `data`; nothing is left to write from then on.
    assert versions[1] == versions[2]


async def test_scale(plane: ControlPlane) -> None:
    client = plane.client()
    await post(client, "/apis/apps/v1/namespaces/ns/deployments", deployment("a"))
    path = "/apis/apps/v1/namespaces/ns/deployments/a/scale"
    scale = orjson.loads(await client.request("GET", path))
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 1, "app=a")
    scale["spec"]["replicas"] = 5
    assert (await put(client, path, scale))["spec"]["replicas"] == 5
    with pytest.raises(Conflict):
        await put(client, path, scale)
    with pytest.raises(Invalid, match="greater than or equal to 0"):
        await client.request(
            "PATCH", path, body={"spec": {"replicas": -1}}, content_type="application/merge-patch+json"
        )


async def test_binding_gives_a_pod_its_node_once(plane: ControlPlane) -> None:
    client = plane.client()
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await post(client, "/api/v1/namespaces/ns/pods", pod)
    path = "/api/v1/namespaces/ns/pods/p/binding"
    await client.request("POST", path, body={"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    bound = await client.get(Pod, "p", "ns")
    assert bound.spec.node_name == "n"
    assert [(c.type, c.status) for c in bound.status.conditions] == [("PodScheduled", "True")]
    with pytest.raises(Conflict, match='already assigned to node "n"'):
        await client.request("POST", path, body={"metadata": {"name": "p"}, "target": {"name": "m"}})


async def test_an_unknown_kind_verb_or_subresource_is_named_as_such(plane: ControlPlane) -> None:
    client = plane.client()
    for path in ("/apis/apps/v1/namespaces/ns/nothings", "/api/v1/namespaces/ns/pods/p/nothing", "/nothing"):
        with pytest.raises(NotFound):
            await client.request("GET", path)
    response = await client.send("POST", "/api/v1/namespaces/ns/pods/p")
    assert response.status == 405


async def test_an_unexpected_failure_is_a_status_without_a_trace(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(key: str) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(plane.store, "get", explode)
    response = await plane.client().send("GET", f"{CONFIG_MAPS}/a")
    status = orjson.loads(response.body)
    assert (response.status, status["kind"], status["reason"]) == (500, "Status", "InternalError")
    assert "secret" not in status["message"]


async def test_a_name_given_beside_a_generate_name_is_never_replaced(plane: ControlPlane) -> None:
    client = plane.client()
    tree = {"metadata": {"name": "twice", "generateName": "twice-"}}
    await post(client, CONFIG_MAPS, tree)
    with pytest.raises(AlreadyExists):
        await post(client, CONFIG_MAPS, tree)


async def send(client: Client, method: str, path: str, body: Obj, media: str = "application/json", **query: str) -> Obj:
    answer = await client.request(method, path, body=body, content_type=media, query=list(query.items()))
    tree: Obj = orjson.loads(answer)
    return tree


MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


@pytest.mark.parametrize(
    ("method", "media", "query", "why"),
    [
        ("PATCH", MERGE, {"force": "true"}, "force: Forbidden: may not be specified for non-apply patch"),
        ("PATCH", MERGE, {"fieldManager": "x" * 129}, "fieldManager: Too long: may not be more than 128 bytes"),
        ("PUT", "application/json", {"fieldManager": "a\nb"}, r"invalid character U\+000A \(at position 1\)"),
        (
            "PUT",
            "application/json",
            {"fieldValidation": "Sometimes"},
            'fieldValidation: Unsupported value: "Sometimes"',
        ),
        (
            "POST",
            "application/json",
            {"dryRun": "Some"},
            'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported',
        ),
        ("DELETE", "application/json", {"dryRun": "Some"}, 'DeleteOptions.meta.k8s.io "" is invalid: dryRun'),
        ("PATCH", APPLY, {}, "fieldManager: Required value: is required for apply patch"),
    ],
)
async def test_options_that_mean_nothing_are_refused(
    plane: ControlPlane, method: str, media: str, query: dict[str, str], why: str
) -> None:
    client = plane.client()
    if method != "POST":
        await post(client, CONFIG_MAPS, {"metadata": {"name": "a"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    path = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/a"
    with pytest.raises(Invalid, match=why):
        await client.request(
            method, path, body=None if method == "DELETE" else body, content_type=media, query=list(query.items())
        )


async def test_of_some_kinds_an_update_makes_what_is_not_there(plane: ControlPlane) -> None:
    client = plane.client()
    lease = {"metadata": {"name": "l", "resourceVersion": "7"}, "spec": {"holderIdentity": "me"}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
    with pytest.raises(NotFound):
        await put(client, f"{CONFIG_MAPS}/new", {"metadata": {"name": "new"}})
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await put(client, f"{leases}/other", lease)
    made = await put(client, f"{leases}/l", lease)
    assert made["metadata"]["uid"]
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    made = await put(client, "/api/v1/namespaces/ns/services/s", service)
    assert made["spec"]["clusterIP"].startswith("10.96.")


async def test_a_scale_is_applied_and_its_field_owned(plane: ControlPlane) -> None:
    client = plane.client()
    path = "/apis/apps/v1/namespaces/ns/deployments/d"
    await send(client, "PATCH", path, deployment("d", replicas=2), APPLY, fieldManager="author")
    scale: Obj = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 5}}
    with pytest.raises(Conflict, match=r'conflict with "author": \.spec\.replicas'):
        await send(client, "PATCH", f"{path}/scale", scale, APPLY, fieldManager="scaler")
    done = await send(client, "PATCH", f"{path}/scale", scale, APPLY, fieldManager="scaler", force="true")
    assert (done["kind"], done["spec"]["replicas"]) == ("Scale", 5)
    live = orjson.loads(await client.request("GET", path))
    owners = {
        (entry["manager"], entry.get("subresource")): entry["fieldsV1"] for entry in live["metadata"]["managedFields"]
    }
    assert owners["scaler", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners["author", None]["f:spec"]
    # Who applied less before may do so again without a word about the replicas.
    await send(client, "PATCH", path, deployment("d"), APPLY, fieldManager="author")
    with pytest.raises(NotFound):
        await send(
            client, "PATCH", f"{path.removesuffix('d')}e/scale", {**scale, "metadata": {}}, APPLY, fieldManager="x"
        )
