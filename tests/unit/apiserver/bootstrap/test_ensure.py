import functools
import time
from collections.abc import Awaitable, Callable

import orjson
import pytest

from pilothouse.apiserver.bootstrap.chain import build_chain
from pilothouse.apiserver.bootstrap.component_roles import CONTROLLER_PREFIX
from pilothouse.apiserver.bootstrap.ensure import ensure, keep_once
from pilothouse.apiserver.bootstrap.flow_control import AUTOUPDATE, suggested_patch
from pilothouse.apiserver.bootstrap.objects import Cluster
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer
from pilothouse.client.client import Client
from pilothouse.client.wire import HandlerTransport, Request, User
from pilothouse.controllers.certificates.authority import key_pem, new_key
from pilothouse.controllers.start import controllers
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.flowcontrol.priority_level_configuration import PriorityLevelConfiguration
from pilothouse.kinds.rbac.role import ClusterRole
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore

NETWORK = ("10.244.0.0/16", "10.96.0.0/16", "cluster.local")
CLUSTER = Cluster("10.96.0.1", "192.0.2.7", 6443, "https://192.0.2.7:6443", b"-----BEGIN CERTIFICATE-----\n", *NETWORK)
ADMIN = User("pilothouse-admin", ("system:masters",))
KEY = key_pem(new_key())


class World:
    """A control plane in memory: the real server with the real chain."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        chain = build_chain(self.store, KEY, "https://kubernetes.default.svc.cluster.local")
        self.server = ApiServer(self.store, chain, KINDS)

    def client(self, name: str, *groups: str) -> Client:
        return Client(HandlerTransport(self.server.handle, User(name, groups)))

    @property
    def admin(self) -> Client:
        return self.client(ADMIN.name, *ADMIN.groups)

    async def ensure(self, cluster: Cluster = CLUSTER) -> int:
        return await ensure(StoreReader(self.store), self.admin, cluster)


@pytest.fixture
async def world() -> World:
    made = World()
    assert await made.ensure() > 60
    return made


async def test_a_second_start_writes_nothing_and_is_quick(world: World) -> None:
    revision = world.store.revision
    begin = time.perf_counter()
    assert await world.ensure() == 0
    assert time.perf_counter() - begin < 0.5
    assert world.store.revision == revision


async def test_users_additions_stay_and_what_is_missing_comes_back(world: World) -> None:
    extra = {"verbs": ["get"], "apiGroups": ["x.example"], "resources": ["things"]}
    await world.admin.patch(ClusterRole, "system:basic-user", None, {"rules": [extra]})
    assert await world.ensure() == 1
    role = await world.admin.get(ClusterRole, "system:basic-user")
    assert ["things"] in [rule.resources for rule in role.rules]
    assert ["selfsubjectreviews"] in [rule.resources for rule in role.rules]
    off = {"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": []}
    await world.admin.patch(ClusterRole, "system:basic-user", None, off)
    assert await world.ensure() == 0


async def test_the_api_service_leads_to_this_machine_even_after_a_move(world: World) -> None:
    service = await world.admin.get(Service, "kubernetes", "default")
    assert service.spec.cluster_ip == "10.96.0.1"
    moved = Cluster("10.96.0.1", "192.0.2.8", 6443, "https://192.0.2.8:6443", CLUSTER.ca_pem, *NETWORK)
    assert await world.ensure(moved) == 3
    slice_ = await world.admin.get(EndpointSlice, "kubernetes", "default")
    assert slice_.endpoints[0].addresses == ["192.0.2.8"]


async def test_strangers_read_cluster_info_and_nothing_else(world: World) -> None:
    path = ConfigMap.resource.path("kube-public", "cluster-info")
    answer = await world.server.handle(Request("GET", path))
    assert answer.status == 200
    assert "192.0.2.7" in orjson.loads(answer.body)["data"]["kubeconfig"]
    for other in ("/api/v1/namespaces/kube-system/secrets", "/api/v1/pods", "/metrics"):
        assert (await world.server.handle(Request("GET", other))).status == 403
    assert (await world.server.handle(Request("GET", "/healthz"))).status == 200


async def test_flow_control_objects_are_kept_as_upstream_keeps_them(world: World) -> None:
    schemas, levels = FlowSchema.resource.path(None), PriorityLevelConfiguration.resource.path(None)

    async def read(path: str) -> Obj:
        tree: Obj = orjson.loads(await world.admin.request("GET", path))
        return tree

    async def change(path: str, patch: Obj) -> None:
        await world.admin.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    known = {level["metadata"]["name"] for level in (await read(levels))["items"]}
    assert {schema["spec"]["priorityLevelConfiguration"]["name"] for schema in (await read(schemas))["items"]} == known
    other = {"spec": {"matchingPrecedence": 7}}
    await change(f"{schemas}/exempt", other)
    await change(f"{schemas}/service-accounts", other)
    await change(f"{schemas}/global-default", {**other, "metadata": {"annotations": {AUTOUPDATE: "false"}}})
    await world.admin.request("DELETE", f"{levels}/catch-all")
    await world.admin.request("DELETE", f"{levels}/system")
    assert await keep_once(StoreReader(world.store), world.admin, CLUSTER) == 4
    found = [(await read(f"{schemas}/{name}"))["spec"]["matchingPrecedence"] for name in ("exempt", "service-accounts")]
    assert found == [1, 9000]
    assert (await read(f"{schemas}/global-default"))["spec"]["matchingPrecedence"] == 7
    assert (await read(f"{levels}/catch-all"))["spec"]["limited"]["limitResponse"] == {"type": "Reject"}
    assert await keep_once(StoreReader(world.store), world.admin, CLUSTER) == 0


@pytest.mark.parametrize(("generation", "taken_over"), [(1, False), (2, True)])
def test_a_schema_without_annotation_is_its_users_once_it_was_changed(generation: int, taken_over: bool) -> None:
    wanted: Obj = {"metadata": {"name": "x"}, "spec": {"matchingPrecedence": 9}}
    current: Obj = {"metadata": {"name": "x", "generation": generation}, "spec": {"matchingPrecedence": 8}}
    said = {"metadata": {"annotations": {AUTOUPDATE: "false" if taken_over else "true"}}}
    assert suggested_patch(current, wanted) == (said if taken_over else {"spec": wanted["spec"], **said})


async def refused(call: Callable[[], Awaitable[object]]) -> bool:
    try:
        await call()
    except Forbidden:
        return True
    return False


async def test_components_have_least_rights(world: World) -> None:
    secret = Secret(metadata=ObjectMeta(name="s", namespace="default"))
    for name in ("deployment-controller", "replicaset-controller", "token-cleaner", "certificate-controller"):
        client = world.client(CONTROLLER_PREFIX + name)
        assert await refused(functools.partial(client.list, Secret, "default"))
        assert await refused(functools.partial(client.create, secret, "default"))
    await world.client(CONTROLLER_PREFIX + "token-cleaner").list(Secret, "kube-system")
    assert await refused(lambda: world.client("system:kube-scheduler").list(Secret))


async def test_every_controller_has_a_role(world: World) -> None:
    roles = {role.name for role in (await world.admin.list(ClusterRole)).items}
    assert {CONTROLLER_PREFIX + controller.name for controller in controllers("10.244.0.0/16", 24)} <= roles


async def review(client: Client, verb: str, resource: str, namespace: str = "default") -> bool:
    attributes = {"verb": verb, "resource": resource, "namespace": namespace}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    answer = await client.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body={**body, "spec": {"resourceAttributes": attributes}},
    )
    status: Obj = orjson.loads(answer)["status"]
    return bool(status["allowed"])


async def test_edit_view_and_admin_gather_their_parts(world: World) -> None:
    for role in ("view", "edit", "admin"):
        binding = {
            "metadata": {"name": role, "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
        }
        path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
        tree = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **binding}
        await world.admin.request("POST", path, body=tree)
    view, edit, admin = (world.client(name, "system:authenticated") for name in ("view", "edit", "admin"))
    assert await review(view, "get", "pods")
    assert not await review(view, "get", "secrets")
    assert not await review(view, "create", "pods")
    assert not await review(view, "get", "pods", "kube-system")
    assert await review(edit, "create", "pods")
    assert await review(edit, "get", "secrets")
    assert await review(admin, "get", "pods")
    assert not await review(admin, "get", "nodes")
