"""What can be answered, and two kinds that are never kept: Binding and ComponentStatus."""

from __future__ import annotations

import orjson
import pytest
from custom_things import call

from pilothouse.client.wire import Request, User
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import BadRequest, Conflict, MethodNotAllowed, NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ADMIN, ControlPlane

PODS = "/api/v1/namespaces/ns/pods"


async def ask(plane: ControlPlane, method: str, path: str, accept: str, body: bytes = b"") -> tuple[int, Obj]:
    headers = {"accept": accept, "content-type": "application/json"}
    answer = await plane.api.handle(Request(method, path, headers=headers, body=body, user=ADMIN))
    return answer.status, orjson.loads(answer.body)


@pytest.mark.parametrize(
    "accept", ["application/xml", "text/plain", "application/json;as=Table;g=meta.k8s.io;v=v9", "application/cbor"]
)
async def test_what_cannot_be_answered_is_not_done(plane: ControlPlane, accept: str) -> None:
    body = orjson.dumps({"metadata": {"name": "c"}})
    status, answer = await ask(plane, "POST", "/api/v1/namespaces/ns/configmaps", accept, body)
    assert (status, answer["reason"]) == (406, "NotAcceptable")
    assert "only the following media types are accepted: application/json" in answer["message"]
    assert (await ask(plane, "GET", "/api/v1/namespaces/ns/configmaps/c", ""))[0] == 404


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html, */*;q=0.8",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table;g=meta.k8s.io;v=v9, application/json",
        "application/json;stream=watch",
    ],
)
async def test_one_form_that_can_be_answered_is_enough(plane: ControlPlane, accept: str) -> None:
    assert (await ask(plane, "GET", PODS, accept))[1]["kind"] == "PodList"


async def test_a_pod_is_bound_by_its_name_in_the_body(plane: ControlPlane) -> None:
    client = plane.client()
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await call(client, "POST", PODS, pod)
    bindings = "/api/v1/namespaces/ns/bindings"
    binding: Obj = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    with pytest.raises(BadRequest, match="name must be provided"):
        await call(client, "POST", bindings, {**binding, "metadata": {}})
    with pytest.raises(NotFound):
        await call(client, "POST", bindings, {**binding, "metadata": {"name": "q"}})
    assert (await call(client, "POST", bindings, binding))["status"] == "Success"
    assert (await client.get(Pod, "p", "ns")).spec.node_name == "n1"
    with pytest.raises(Conflict, match="already assigned"):
        await call(client, "POST", bindings, binding)
    with pytest.raises(MethodNotAllowed):
        await call(client, "GET", bindings)
    listed = await call(client, "GET", "/api/v1")
    assert {"name": "bindings", "verbs": ["create"]}.items() <= next(
        entry for entry in listed["resources"] if entry["name"] == "bindings"
    ).items()


async def test_the_store_tells_how_it_is(plane: ControlPlane) -> None:
    path = "/api/v1/componentstatuses"
    answer = await plane.api.handle(Request("GET", path, user=User("ann")))
    assert "deprecated" in answer.headers["warning"]
    (store,) = orjson.loads(answer.body)["items"]
    assert store["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
    table = "application/json;as=Table;g=meta.k8s.io;v=v1"
    assert [row["cells"] for row in (await ask(plane, "GET", path, table))[1]["rows"]] == [
        ["store", "Healthy", "ok", ""]
    ]
    assert (await ask(plane, "GET", f"{path}/store", ""))[1]["metadata"]["name"] == "store"
    assert (await ask(plane, "GET", f"{path}/etcd-7", ""))[0] == 404
    assert (await ask(plane, "DELETE", f"{path}/store", ""))[0] == 405
