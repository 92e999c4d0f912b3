from typing import Any

import pytest

from pilothouse.apiserver import codec
from pilothouse.apiserver.authorization.authorizer import FirstAllowing
from pilothouse.apiserver.authorization.escalation import Escalation
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.authorization.node import NodeAuthorizer
from pilothouse.apiserver.authorization.node_graph import NodeGraph
from pilothouse.apiserver.authorization.rbac import RbacAuthorizer
from pilothouse.apiserver.authorization.rules import of_tree, uncovered
from pilothouse.apiserver.chain import AdmissionRequest, Attributes
from pilothouse.apiserver.reader import StoreReader
from pilothouse.client.wire import User
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.rbac.role import ClusterRole, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding
from pilothouse.kinds.storage.volume_attachment import VolumeAttachment
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.memory import MemoryStore

READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


async def put(store: MemoryStore, resource: Resource, namespace: str, name: str, **fields: Any) -> None:
    meta = {"name": name, "namespace": namespace, **fields.pop("metadata", {})}
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta, **fields}
    key = codec.key(resource, namespace, name)
    record = store.get(key)
    if record is None:
        await store.create(key, codec.encode(obj))
    else:
        await store.update(key, codec.encode(obj), record.revision)


def subject(kind: str, name: str, namespace: str = "") -> Obj:
    return {"kind": kind, "name": name, "namespace": namespace}


def ref(kind: str, name: str) -> Obj:
    return {"kind": kind, "name": name}


def asks(
    user: User, verb: str, resource: str, namespace: str = "", name: str = "", sub: str = "", group: str = ""
) -> Any:
    return Attributes(user, verb, "", True, group, "v1", resource, sub, namespace, name)


JANE = User("jane", ("dev",))


async def test_a_role_counts_in_its_namespace_and_changes_at_once() -> None:
    store = MemoryStore()
    rbac = RbacAuthorizer(RbacIndex(store))
    assert not (await rbac.allow(asks(JANE, "get", "pods", "a", "p"))).allowed
    await put(store, Role.resource, "a", "reader", rules=[READ_PODS])
    await put(store, RoleBinding.resource, "a", "b", subjects=[subject("Group", "dev")], roleRef=ref("Role", "reader"))
    assert (await rbac.allow(asks(JANE, "get", "pods", "a", "p"))).allowed
    assert not (await rbac.allow(asks(JANE, "get", "pods", "b", "p"))).allowed
    assert not (await rbac.allow(asks(JANE, "get", "pods", "a", "p", "log"))).allowed
    assert not (await rbac.allow(asks(JANE, "delete", "pods", "a", "p"))).allowed
    key = codec.key(RoleBinding.resource, "a", "b")
    record = store.get(key)
    assert record is not None
    await store.delete(key, record.revision)
    assert not (await rbac.allow(asks(JANE, "get", "pods", "a", "p"))).allowed


async def test_cluster_roles_service_accounts_and_paths() -> None:
    store = MemoryStore()
    rbac = RbacAuthorizer(RbacIndex(store))
    rules = [READ_PODS, {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/openapi/*"]}]
    await put(store, ClusterRole.resource, "", "reader", rules=rules)
    binding = [subject("ServiceAccount", "bot", "ci")]
    await put(store, ClusterRoleBinding.resource, "", "b", subjects=binding, roleRef=ref("ClusterRole", "reader"))
    bot = User("system:serviceaccount:ci:bot")
    assert (await rbac.allow(asks(bot, "list", "pods"))).allowed
    assert (await rbac.allow(Attributes(bot, "get", "/openapi/v3", is_resource=False))).allowed
    assert not (await rbac.allow(Attributes(bot, "get", "/metrics", is_resource=False))).allowed


async def test_aggregation_reaches_through_and_ends() -> None:
    store = MemoryStore()
    rbac = RbacAuthorizer(RbacIndex(store))

    def gathers(label: str) -> Obj:
        return {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}

    labelled = {"labels": {"to-admin": "true"}}
    await put(store, ClusterRole.resource, "", "admin", aggregationRule=gathers("to-admin"), metadata=labelled)
    await put(store, ClusterRole.resource, "", "edit", aggregationRule=gathers("to-edit"), metadata=labelled)
    await put(store, ClusterRole.resource, "", "x", rules=[READ_PODS], metadata={"labels": {"to-edit": "true"}})
    await put(
        store,
        ClusterRoleBinding.resource,
        "",
        "b",
        subjects=[subject("User", "jane")],
        roleRef=ref("ClusterRole", "admin"),
    )
    assert (await rbac.allow(asks(JANE, "get", "pods", "a", "p"))).allowed
    await put(store, ClusterRole.resource, "", "x", rules=[])
    assert not (await rbac.allow(asks(JANE, "get", "pods", "a", "p"))).allowed


async def test_masters_may_everything() -> None:
    assert (await FirstAllowing([]).allow(asks(User("a", ("system:masters",)), "delete", "nodes"))).allowed


@pytest.mark.parametrize(
    ("own", "wanted", "covered"),
    [
        (READ_PODS, READ_PODS, True),
        (READ_PODS, {**READ_PODS, "verbs": ["get", "delete"]}, False),
        (READ_PODS, {**READ_PODS, "resources": ["pods/log"]}, False),
        ({**READ_PODS, "resources": ["*/log"]}, {**READ_PODS, "resources": ["pods/log"]}, True),
        ({**READ_PODS, "resources": ["*"]}, {**READ_PODS, "resources": ["secrets"]}, True),
        (READ_PODS, {**READ_PODS, "resources": ["*"]}, False),
        ({**READ_PODS, "resourceNames": ["a"]}, READ_PODS, False),
        (READ_PODS, {**READ_PODS, "resourceNames": ["a"]}, True),
        ({"verbs": ["get"], "nonResourceURLs": ["/a*"]}, {"verbs": ["get"], "nonResourceURLs": ["/a/b"]}, True),
        ({"verbs": ["get"], "nonResourceURLs": ["/a"]}, {"verbs": ["get"], "nonResourceURLs": ["/a*"]}, False),
    ],
)
def test_cover(own: Obj, wanted: Obj, covered: bool) -> None:
    assert (uncovered([of_tree(own)], [of_tree(wanted)]) == []) is covered


async def test_nobody_hands_out_more_than_they_have() -> None:
    store = MemoryStore()
    index = RbacIndex(store)
    check = Escalation(index, RbacAuthorizer(index))
    await put(store, ClusterRole.resource, "", "reader", rules=[READ_PODS])
    await put(
        store, RoleBinding.resource, "a", "b", subjects=[subject("User", "jane")], roleRef=ref("ClusterRole", "reader")
    )

    def writes(resource: Resource, **fields: Any) -> AdmissionRequest:
        return AdmissionRequest(JANE, "CREATE", resource, "a", "new", object={"metadata": {"name": "new"}, **fields})

    await check.validate(writes(Role.resource, rules=[READ_PODS]))
    with pytest.raises(Forbidden, match="delete"):
        await check.validate(writes(Role.resource, rules=[{**READ_PODS, "verbs": ["delete"]}]))
    await check.validate(writes(RoleBinding.resource, roleRef=ref("ClusterRole", "reader")))
    await put(store, ClusterRole.resource, "", "owner", rules=[{**READ_PODS, "verbs": ["*"]}])
    with pytest.raises(Forbidden):
        await check.validate(writes(RoleBinding.resource, roleRef=ref("ClusterRole", "owner")))


NODE = User("system:node:n1", ("system:nodes",))


async def node_world() -> tuple[MemoryStore, NodeAuthorizer]:
    store = MemoryStore()
    spec = {
        "nodeName": "n1",
        "serviceAccountName": "web",
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "tls"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": "ca"}}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "inline", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "inline"}}},
        ],
        "containers": [
            {"envFrom": [{"configMapRef": {"name": "env"}}]},
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "key"}}}]},
        ],
    }
    await put(store, Pod.resource, "shop", "p", spec=spec)
    await put(store, Pod.resource, "shop", "q", spec={"nodeName": "n2", "volumes": [{"secret": {"secretName": "no"}}]})
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}
    await put(
        store,
        PersistentVolume.resource,
        "",
        "pv",
        spec={
            "claimRef": {"namespace": "shop", "name": "data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
        },
    )
    for volume, claim, secret in (("disk", "data", "disk"), ("other", "elsewhere", "other")):
        spec = {
            "claimRef": {"namespace": "shop", "name": claim},
            "csi": {"driver": "d", "nodeStageSecretRef": {"namespace": "shop", "name": secret}},
        }
        await put(store, PersistentVolume.resource, "", volume, spec=spec)
    for name, place in (("csi-1", "n1"), ("csi-2", "n2")):
        await put(store, VolumeAttachment.resource, "", name, spec={"nodeName": place})
    return store, NodeAuthorizer(NodeGraph(store), StoreReader(store))


@pytest.mark.parametrize(
    ("verb", "resource", "name", "allowed"),
    [
        ("get", "secrets", "tls", True),
        ("watch", "secrets", "pull", True),
        ("get", "secrets", "key", True),
        ("get", "secrets", "no", False),
        ("get", "secrets", "inline", True),
        ("watch", "secrets", "disk", True),
        ("update", "secrets", "disk", False),
        ("get", "secrets", "other", False),
        ("list", "secrets", "", False),
        ("update", "secrets", "tls", False),
        ("get", "configmaps", "ca", True),
        ("get", "configmaps", "env", True),
        ("get", "configmaps", "tls", False),
        ("get", "persistentvolumeclaims", "data", True),
        ("get", "persistentvolumeclaims", "p-scratch", True),
        ("patch", "persistentvolumeclaims/status", "data", True),
        ("patch", "persistentvolumeclaims", "data", False),
        ("patch", "persistentvolumeclaims/status", "elsewhere", False),
        ("get", "persistentvolumes", "pv", True),
        ("patch", "persistentvolumes", "pv", False),
        ("create", "serviceaccounts/token", "web", True),
        ("create", "serviceaccounts/token", "default", False),
        ("patch", "pods/status", "p", True),
        ("patch", "pods/status", "q", False),
        ("delete", "pods", "p", True),
        ("delete", "pods", "q", False),
        ("patch", "nodes/status", "n1", True),
        ("patch", "nodes", "n2", False),
        ("delete", "nodes", "n1", False),
    ],
)
async def test_a_node_reads_what_its_pods_name(verb: str, resource: str, name: str, allowed: bool) -> None:
    _, node = await node_world()
    plural, _, sub = resource.partition("/")
    assert (await node.allow(asks(NODE, verb, plural, "shop", name, sub))).allowed is allowed


async def test_rights_end_with_the_pod_and_are_for_nodes_only() -> None:
    store, node = await node_world()
    question = asks(NODE, "get", "secrets", "shop", "tls")
    assert (await node.allow(question)).allowed
    assert not (await node.allow(asks(User("system:node:n1"), "get", "secrets", "shop", "tls"))).allowed
    record = store.get(codec.key(Pod.resource, "shop", "p"))
    assert record is not None
    await store.delete(record.key, record.revision)
    decision = await node.allow(question)
    assert not decision.allowed
    assert "no relationship" in decision.reason


async def test_only_the_own_lease() -> None:
    _, node = await node_world()
    for name, allowed in (("n1", True), ("n2", False)):
        question = asks(NODE, "patch", "leases", "kube-node-lease", name, group="coordination.k8s.io")
        assert (await node.allow(question)).allowed is allowed


@pytest.mark.parametrize(
    ("verb", "resource", "name", "allowed"),
    [
        ("list", "csidrivers", "", True),
        ("patch", "csinodes", "n1", True),
        ("patch", "csinodes", "n2", False),
        ("list", "csinodes", "", False),
        ("get", "volumeattachments", "csi-1", True),
        ("get", "volumeattachments", "csi-2", False),
        ("get", "volumeattachments", "csi-3", False),
        ("patch", "volumeattachments", "csi-1", False),
        ("list", "volumeattachments", "", False),
    ],
)
async def test_a_node_tells_of_its_drivers_and_reads_its_attachments(
    verb: str, resource: str, name: str, allowed: bool
) -> None:
    _, node = await node_world()
    assert (await node.allow(asks(NODE, verb, resource, "", name, group="storage.k8s.io"))).allowed is allowed
