from typing import Any

import pytest

from pilothouse.apiserver.admission.steps import standard_chain
from pilothouse.apiserver.authorization.authorizer import FirstAllowing
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.client.wire import User
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.certificates.csr import CertificateSigningRequest
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.core.static_pod import MIRROR
from pilothouse.kinds.scheduling.priority_class import PriorityClass
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.machinery.errors import ApiError, Forbidden, Invalid, NotFound
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.memory import MemoryStore

JANE = User("jane")
NODE = User("system:node:n1", ("system:nodes",))

MODE = "pod-security.kubernetes.io/"


class Objects:
    """An object reader over a dictionary."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, str], Obj] = {}

    def put(self, plural: str, namespace: str, name: str, *, metadata: Obj | None = None, **fields: Any) -> None:
        meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", **(metadata or {})}
        self.held[plural, namespace, name] = {"metadata": meta, **fields}

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        return self.held.get((resource.plural, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Obj]:
        return [obj for key, obj in self.held.items() if key[0] == resource.plural and namespace in ("", key[1])]

    def revision(self, resource: Resource) -> int:
        return 1


@pytest.fixture
def world() -> Objects:
    objects = Objects()
    objects.put("namespaces", "", "shop")
    objects.put("namespaces", "", "gone", status={"phase": "Terminating"})
    objects.put("namespaces", "", "kube-system")
    for namespace in ("shop", "kube-system", "gone"):
        objects.put("serviceaccounts", namespace, "default")
    return objects


async def admit(
    objects: Objects,
    resource: Resource,
    obj: Obj | None,
    *,
    user: User = JANE,
    operation: str = "CREATE",
    namespace: str = "shop",
    old: Obj | None = None,
    sub: str = "",
    name: str = "",
) -> AdmissionRequest:
    store = MemoryStore()
    index = RbacIndex(store)
    if obj is not None:
        obj.setdefault("metadata", {}).setdefault("name", name or "x")
    name = name or (obj or {}).get("metadata", {}).get("name", "x")
    where = namespace if resource.namespaced else ""
    request = AdmissionRequest(user, operation, resource, where, name, sub, obj, old)
    await standard_chain(store, objects, FirstAllowing([]), index).admit(request)
    return request


def pod(**spec: Any) -> Obj:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_a_plain_pod_is_filled_in(world: Objects) -> None:
    admitted = (await admit(world, Pod.resource, pod())).object
    assert admitted is not None
    spec = admitted["spec"]
    assert spec["serviceAccountName"] == "default"
    (volume,) = spec["volumes"]
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert volume["name"] == mount["name"]
    assert volume["name"].startswith("kube-api-access-")
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert [t["tolerationSeconds"] for t in spec["tolerations"]] == [300, 300]


async def test_pods_of_an_account_get_the_same_volume(world: Objects) -> None:
    world.put("serviceaccounts", "shop", "other")
    accounts = ("default", "default", "other")
    admitted = [await admit(world, Pod.resource, pod(serviceAccountName=name)) for name in accounts]
    first, second, other = (request.object["spec"]["volumes"][0]["name"] for request in admitted if request.object)
    assert first == second != other


async def test_a_pod_may_do_without_a_token(world: Objects) -> None:
    world.put("serviceaccounts", "shop", "quiet", automountServiceAccountToken=False, imagePullSecrets=[{"name": "r"}])
    quiet = (await admit(world, Pod.resource, pod(serviceAccountName="quiet"))).object
    assert quiet is not None
    assert "volumes" not in quiet["spec"]
    assert quiet["spec"]["imagePullSecrets"] == [{"name": "r"}]
    loud = (await admit(world, Pod.resource, pod(serviceAccountName="quiet", automountServiceAccountToken=True))).object
    assert loud is not None
    assert len(loud["spec"]["volumes"]) == 1


async def test_priority_comes_from_the_class(world: Objects) -> None:
    world.put("priorityclasses", "", "high", value=1000, preemptionPolicy="Never")
    admitted = (await admit(world, Pod.resource, pod(priorityClassName="high"))).object
    assert admitted is not None
    assert (admitted["spec"]["priority"], admitted["spec"]["preemptionPolicy"]) == (1000, "Never")
    with pytest.raises(Forbidden, match="priority"):
        await admit(world, Pod.resource, pod(priority=5))
    with pytest.raises(Forbidden, match="no PriorityClass with name none"):
        await admit(world, Pod.resource, pod(priorityClassName="none"))
    world.put("priorityclasses", "", "first", value=1, globalDefault=True)
    with pytest.raises(Forbidden, match="already marked as default"):
        await admit(world, PriorityClass.resource, {"metadata": {"name": "second"}, "value": 2, "globalDefault": True})


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        (Pod.resource, {"namespace": "missing", "obj": pod()}, NotFound),
        (Pod.resource, {"namespace": "gone", "obj": pod()}, Forbidden),
        (Namespace.resource, {"operation": "DELETE", "obj": None, "name": "kube-system"}, Forbidden),
        (Pod.resource, {"obj": pod(runtimeClassName="gvisor")}, Forbidden),
        (Pod.resource, {"obj": pod(overhead={"cpu": "1"})}, Forbidden),
        (Pod.resource, {"obj": pod(hostNetwork=True)}, Forbidden),
        (
            Namespace.resource,
            {"obj": {"metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": "x"}}}},
            Invalid,
        ),
    ],
)
async def test_refused(world: Objects, resource: Resource, arguments: Any, error: type[ApiError]) -> None:
    with pytest.raises(error):
        await admit(world, resource, **arguments)


async def test_a_refusal_by_pod_security_says_what_would_allow_it(world: Objects) -> None:
    with pytest.raises(Forbidden) as caught:
        await admit(world, Pod.resource, pod(hostNetwork=True))
    assert "kubectl label namespace shop --overwrite pod-security.kubernetes.io/enforce=privileged" in str(caught.value)
    world.put("namespaces", "", "shop", metadata={"labels": {"pod-security.kubernetes.io/enforce": "privileged"}})
    await admit(world, Pod.resource, pod(hostNetwork=True))
    await admit(world, Pod.resource, pod(hostNetwork=True), namespace="kube-system")


async def test_a_version_is_kept_to_and_told(world: Objects) -> None:
    labels = {f"{MODE}enforce": "restricted", f"{MODE}enforce-version": "v1.7", f"{MODE}warn": "privileged"}
    world.put("namespaces", "", "shop", metadata={"labels": labels})
    await admit(world, Pod.resource, pod(securityContext={"runAsNonRoot": True}))
    with pytest.raises(Forbidden) as caught:
        await admit(world, Pod.resource, pod())
    assert 'violates PodSecurity "restricted:v1.7": runAsNonRoot != true' in str(caught.value)
    assert f"kubectl label namespace shop --overwrite {MODE}enforce=baseline" in str(caught.value)


async def test_wrong_labels_are_refused_when_they_are_written(world: Objects) -> None:
    wrong = {"metadata": {"name": "shop", "labels": {f"{MODE}warn": "strict", f"{MODE}audit-version": "1.20"}}}
    with pytest.raises(Invalid) as caught:
        await admit(world, Namespace.resource, wrong, name="shop")
    assert f'metadata.labels[{MODE}warn]: Invalid value: "strict": must be one of privileged' in str(caught.value)
    assert f'metadata.labels[{MODE}audit-version]: Invalid value: "1.20": must be "latest" or "v1.x"' in str(
        caught.value
    )
    other = {"metadata": {**wrong["metadata"], "annotations": {"a": "b"}}}
    await admit(world, Namespace.resource, other, operation="UPDATE", old=wrong, name="shop")


async def test_a_stricter_namespace_tells_of_the_pods_it_has(world: Objects) -> None:
    for number in range(150):
        world.put("pods", "shop", f"p-{number:03}", spec=pod(hostPID=True)["spec"])
    world.put("pods", "other", "elsewhere", spec=pod(privileged=True)["spec"])
    was = {"metadata": {"name": "shop", "labels": {f"{MODE}enforce": "privileged"}}}
    for level, warnings in (
        (
            "baseline",
            [
                'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest"',
                "p-000 (and 149 other pods): host namespaces",
            ],
        ),
        ("privileged", []),
    ):
        now = {"metadata": {"name": "shop", "labels": {f"{MODE}enforce": level}}}
        request = await admit(world, Namespace.resource, now, operation="UPDATE", old=was, name="shop")
        assert request.warnings == warnings


async def test_the_audit_log_is_told_what_the_audited_level_would_refuse(world: Objects) -> None:
    labels = {f"{MODE}audit": "restricted", f"{MODE}audit-version": "v1.7"}
    world.put("namespaces", "", "shop", metadata={"labels": labels})
    request = await admit(world, Pod.resource, pod())
    assert request.annotations[f"{MODE}enforce-policy"] == "baseline:latest"
    expected = 'would violate PodSecurity "restricted:v1.7": runAsNonRoot != true'
    assert request.annotations[f"{MODE}audit-violations"].startswith(expected)
    deployment = {"metadata": {"name": "d"}, "spec": {"template": {"spec": pod()["spec"]}}}
    request = await admit(world, Deployment.resource, deployment)
    assert request.annotations[f"{MODE}audit-violations"].startswith(expected)


async def test_a_workload_is_warned_once(world: Objects) -> None:
    deployment = {"metadata": {"name": "d"}, "spec": {"template": {"spec": pod()["spec"]}}}
    request = await admit(world, Deployment.resource, deployment)
    assert len(request.warnings) == 1
    assert 'would violate PodSecurity "restricted:latest"' in request.warnings[0]
    same = await admit(world, Deployment.resource, deployment, operation="UPDATE", old=deployment)
    assert same.warnings == []


async def test_runtime_class_gives_overhead_and_place(world: Objects) -> None:
    world.put(
        "runtimeclasses",
        "",
        "gvisor",
        handler="runsc",
        overhead={"podFixed": {"memory": "64Mi"}},
        scheduling={"nodeSelector": {"sandbox": "yes"}},
    )
    admitted = (await admit(world, Pod.resource, pod(runtimeClassName="gvisor"))).object
    assert admitted is not None
    assert admitted["spec"]["overhead"] == {"memory": "64Mi"}
    assert admitted["spec"]["nodeSelector"] == {"sandbox": "yes"}
    with pytest.raises(Forbidden, match="conflict"):
        await admit(world, Pod.resource, pod(runtimeClassName="gvisor", nodeSelector={"sandbox": "no"}))


async def test_a_claim_gets_the_default_class_unless_it_wants_none(world: Objects) -> None:
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    world.put("storageclasses", "", "local", metadata=default)
    claim = (await admit(world, PersistentVolumeClaim.resource, {"spec": {}})).object
    none = (await admit(world, PersistentVolumeClaim.resource, {"spec": {"storageClassName": ""}})).object
    assert claim is not None
    assert none is not None
    assert (claim["spec"]["storageClassName"], none["spec"]["storageClassName"]) == ("local", "")


async def test_a_certificate_request_names_its_true_author(world: Objects) -> None:
    forged = {"spec": {"username": "admin", "groups": ["system:masters"], "uid": "1"}}
    request = (await admit(world, CertificateSigningRequest.resource, forged)).object
    assert request is not None
    assert request["spec"] == {"username": "jane", "groups": []}
    old = {"metadata": {"name": "x"}, "spec": {"signerName": "kubernetes.io/kubelet-serving"}}
    signed = {**old, "status": {"certificate": "Zm9v"}}
    for sub, change in (("status", signed), ("approval", old)):
        with pytest.raises(Forbidden, match="not permitted"):
            await admit(world, CertificateSigningRequest.resource, change, operation="UPDATE", old=old, sub=sub)


def node_object(**labels: str) -> Obj:
    return {"metadata": {"name": "n1", "labels": labels}}


async def test_a_node_writes_only_itself(world: Objects) -> None:
    own = {"kubernetes.io/hostname": "n1", "team": "a", "node.kubernetes.io/x": "y"}
    await admit(world, Node.resource, node_object(**own), user=NODE)
    for key in ("node-restriction.kubernetes.io/trusted", "node-role.kubernetes.io/control-plane"):
        with pytest.raises(Forbidden, match="labels"):
            await admit(world, Node.resource, node_object(**{key: ""}), user=NODE)
    with pytest.raises(Forbidden, match="n2"):
        await admit(world, Node.resource, {"metadata": {"name": "n2"}}, user=NODE)
    tainted = {**node_object(), "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}
    with pytest.raises(Forbidden, match="taints"):
        await admit(world, Node.resource, node_object(), user=NODE, operation="UPDATE", old=tainted)
    with pytest.raises(Forbidden, match="lease"):
        await admit(world, Lease.resource, {"metadata": {"name": "n2"}}, user=NODE, namespace="shop")


def mirror(**spec: Any) -> Obj:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-n1", "controller": True}
    return {
        "metadata": {"name": "web-n1", "annotations": {MIRROR: "abc"}, "ownerReferences": [owner]},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], **spec},
    }


async def test_a_node_creates_mirrors_of_its_own_pods_only(world: Objects) -> None:
    world.put("nodes", "", "n1")
    admitted = await admit(world, Pod.resource, mirror(), user=NODE)
    assert admitted.object is not None
    assert "serviceAccountName" not in admitted.object["spec"]
    plain, foreign = mirror(), mirror()
    del plain["metadata"]["annotations"]
    foreign["metadata"]["ownerReferences"][0]["uid"] = "uid-n2"
    for refused, sign in (
        (plain, "can only create mirror pods"),
        (foreign, "owner reference set to itself"),
        (mirror(nodeName="n2"), "spec.nodeName set to itself"),
        (
            mirror(volumes=[{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}]),
            r"reference volumes\[0\]\.csi\.nodePublishSecretRef",
        ),
        (mirror(serviceAccountName="admin"), "reference serviceAccountName"),
        (mirror(volumes=[{"name": "v", "secret": {"secretName": "s"}}]), r"volumes\[0\].secret"),
    ):
        with pytest.raises(Forbidden, match=sign):
            await admit(world, Pod.resource, refused, user=NODE)


async def test_a_node_asks_for_tokens_of_its_pods_only(world: Objects) -> None:
    world.put("pods", "shop", "mine", spec={"nodeName": "n1"})
    world.put("pods", "shop", "other", spec={"nodeName": "n2"})

    async def ask(**reference: str) -> None:
        body: Obj = {"metadata": {}, "spec": {"boundObjectRef": {"kind": "Pod", **reference}}}
        await admit(world, ServiceAccount.resource, body, user=NODE, sub="token", name="default")

    await ask(name="mine", uid="uid-mine")
    for reference in ({"name": "other", "uid": "uid-other"}, {"name": "mine", "uid": "old"}, {"name": "mine"}):
        with pytest.raises(Forbidden):
            await ask(**reference)


async def test_external_addresses_of_no_node_are_named(world: Objects) -> None:
    world.put("nodes", "", "n1", status={"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]})
    spec = {"externalIPs": ["192.0.2.1", "203.0.113.9"]}
    warnings = (await admit(world, Service.resource, {"spec": spec})).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("spec.externalIPs[1]: 203.0.113.9 is not in the status of any node")


async def test_a_claim_grows_only_if_its_class_allows_it(world: Objects) -> None:
    def sized(amount: str) -> Obj:
        spec = {"resources": {"requests": {"storage": amount}}, "storageClassName": "local"}
        return {"metadata": {"name": "data"}, "spec": spec, "status": {"phase": "Bound"}}

    async def grow() -> None:
        await admit(world, PersistentVolumeClaim.resource, sized("2Gi"), operation="UPDATE", old=sized("1Gi"))

    world.put("storageclasses", "", "local", allowVolumeExpansion=True)
    await grow()
    world.put("storageclasses", "", "local")
    with pytest.raises(Forbidden, match="the storageclass that provisions the pvc must support resize"):
        await grow()


async def test_a_node_tells_of_its_drivers_and_that_volumes_grew(world: Objects) -> None:
    await admit(world, CSINode.resource, {"metadata": {"name": "n1"}}, user=NODE, namespace="")
    with pytest.raises(Forbidden, match="can only access the CSINode with its own name"):
        await admit(world, CSINode.resource, {"metadata": {"name": "n2"}}, user=NODE, namespace="")
    old: Obj = {"metadata": {"name": "data"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    grown = {**old, "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}}}
    lost = {**old, "status": {"phase": "Lost", "capacity": {"storage": "1Gi"}}}
    update = {"user": NODE, "operation": "UPDATE", "sub": "status", "old": old}
    await admit(world, PersistentVolumeClaim.resource, grown, **update)
    with pytest.raises(Forbidden, match=r"other than status\.capacity and status\.conditions"):
        await admit(world, PersistentVolumeClaim.resource, lost, **update)
