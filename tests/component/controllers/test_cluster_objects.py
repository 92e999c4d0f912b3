"""Services, namespaces, accounts and volumes, over the real API."""

from __future__ import annotations

from functools import partial

import pytest
from cluster_world import Cluster, deployment

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.discovery.endpoint_slice import Endpoint, EndpointSlice
from pilothouse.kinds.rbac.role import ClusterRole
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import to_bytes
from pilothouse.reconcile.volumes import VOLUMES_CAPACITY

SERVICE: Obj = {
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
}


def endpoints(cluster: Cluster) -> list[Endpoint]:
    return [endpoint for s in cluster.all(EndpointSlice) for endpoint in s.endpoints]


async def test_a_service_lists_its_ready_pods(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await cluster.client.create_tree(Service.resource, SERVICE, "shop")
    await cluster.client.create_tree(Deployment.resource, deployment(), "shop")
    await cluster.until(lambda: sum(bool(e.conditions.ready) for e in endpoints(cluster)) == 3)
    (found,) = cluster.all(EndpointSlice)
    assert found.metadata.labels["kubernetes.io/service-name"] == "web"
    assert [(port.name, port.port, port.protocol) for port in found.ports] == [("http", 8080, "TCP")]
    assert all(e.node_name == "n1" and e.target_ref is not None for e in found.endpoints)
    await cluster.client.delete(Service, "web", "shop")
    await cluster.until(lambda: not cluster.all(EndpointSlice))


async def test_a_load_balancer_has_the_nodes_addresses(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    address = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
    await cluster.client.patch(Node, "n1", None, {"status": address}, subresource="status")
    tree: Obj = {**SERVICE, "spec": {**SERVICE["spec"], "type": "LoadBalancer"}}
    await cluster.client.create_tree(Service.resource, tree, "shop")
    await cluster.client.create_tree(Service.resource, {**tree, "metadata": {"name": "late"}}, "shop")

    def addresses(name: str) -> list[str]:
        service = cluster.get(Service, f"shop/{name}")
        return [entry.ip for entry in service.status.load_balancer.ingress] if service is not None else []

    await cluster.until(lambda: len(addresses("web")) == 1)
    assert not addresses("late")
    await cluster.client.delete(Service, "web", "shop")
    await cluster.until(lambda: len(addresses("late")) == 1)


async def test_a_namespace_goes_with_everything_in_it(strict_cluster: Cluster) -> None:
    await strict_cluster.add_node("n1")
    await strict_cluster.client.create_tree(Deployment.resource, deployment(), "shop")
    await strict_cluster.client.create_tree(ConfigMap.resource, {"metadata": {"name": "c"}, "data": {"a": "b"}}, "shop")
    await strict_cluster.until(lambda: sum(p.status.phase == "Running" for p in strict_cluster.all(Pod)) == 3)
    await strict_cluster.client.delete(Namespace, "shop")
    await strict_cluster.until(lambda: strict_cluster.get(Namespace, "shop") is None)
    assert not (await strict_cluster.client.list(ConfigMap, "shop")).items
    assert not (await strict_cluster.client.list(Pod, "shop")).items


async def test_nothing_goes_before_the_last_pod(cluster: Cluster) -> None:
    pod = {
        "metadata": {"name": "p", "finalizers": ["example.com/hold"]},
        "spec": deployment()["spec"]["template"]["spec"],
    }
    await cluster.client.create_tree(Pod.resource, pod, "shop")
    await cluster.client.create_tree(ConfigMap.resource, {"metadata": {"name": "c"}}, "shop")
    await cluster.client.delete(Namespace, "shop")

    def told() -> bool:
        namespace = cluster.get(Namespace, "shop")
        conditions = namespace.status.conditions if namespace is not None else []
        return any("pods" in c.message for c in conditions if c.type == "NamespaceContentRemaining")

    await cluster.until(told)
    assert (await cluster.client.get(Pod, "p", "shop")).metadata.deletion_timestamp is not None
    assert (await cluster.client.get(ConfigMap, "c", "shop")).metadata.deletion_timestamp is None
    await cluster.client.patch(Pod, "p", "shop", {"metadata": {"finalizers": None}})
    await cluster.until(lambda: cluster.get(Namespace, "shop") is None)


async def test_a_namespace_that_cannot_go_says_why(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilothouse.controllers.namespace.controller._RETRY_SECONDS", 0.1)
    held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    await cluster.client.create_tree(ConfigMap.resource, held, "shop")
    await cluster.client.delete(Namespace, "shop")

    def why() -> str:
        namespace = cluster.get(Namespace, "shop")
        conditions = namespace.status.conditions if namespace is not None else []
        return next((c.message for c in conditions if c.type == "NamespaceFinalizersRemaining"), "")

    said = await cluster.until(why)
    assert "example.com/hold in 1 resource instances (configmaps/held)" in said

    def told() -> list[str]:
        events: list[Event] = cluster.all(Event)
        return [event.message for event in events if event.reason == "NamespaceDeletionBlocked"]

    assert await cluster.until(told) == [said]
    await cluster.client.patch(ConfigMap, "held", "shop", {"metadata": {"finalizers": None}})
    await cluster.until(lambda: cluster.get(Namespace, "shop") is None)


async def test_every_namespace_has_a_default_account(cluster: Cluster) -> None:
    first = await cluster.until(lambda: cluster.get(ServiceAccount, "shop/default"))
    await cluster.client.delete(ServiceAccount, "default", "shop")
    await cluster.until(
        lambda: (found := cluster.get(ServiceAccount, "shop/default")) and found.metadata.uid != first.metadata.uid
    )


async def add_local_class(cluster: Cluster) -> None:
    tree = {
        "metadata": {
            "name": "local",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "pilothouse.io/local",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    await cluster.client.create_tree(StorageClass.resource, tree)


def claim(**spec: object) -> Obj:
    return {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


def pod_with_claim() -> Obj:
    return {
        "metadata": {"name": "db"},
        "spec": {
            "containers": [{"name": "db", "image": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }


async def test_a_local_volume_is_made_where_the_pod_goes_and_reclaimed_with_its_claim(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await add_local_class(cluster)
    await cluster.client.create_tree(PersistentVolumeClaim.resource, claim(), "shop")
    await cluster.until(lambda: (c := cluster.get(PersistentVolumeClaim, "shop/data")) and c.spec.storage_class_name)
    await cluster.client.create_tree(Pod.resource, pod_with_claim(), "shop")
    await cluster.until(lambda: (p := cluster.get(Pod, "shop/db")) and p.status.phase == "Running")
    (volume,) = cluster.all(PersistentVolume)
    assert volume.spec.local is not None
    assert volume.spec.local.path == f"/var/lib/pilothouse/volumes/{volume.name}"
    await cluster.until(lambda: cluster.get(PersistentVolume, volume.name).status.phase == "Bound")
    await cluster.client.delete(PersistentVolumeClaim, "data", "shop")
    await cluster.until(lambda: cluster.get(PersistentVolumeClaim, "shop/data").metadata.deletion_timestamp)
    await cluster.client.delete(Pod, "db", "shop")
    await cluster.until(lambda: cluster.get(PersistentVolumeClaim, "shop/data") is None)
    left = await cluster.until(
        lambda: (
            (v := cluster.get(PersistentVolume, volume.name)).metadata.deletion_timestamp
            and v.metadata.finalizers == ["pilothouse.io/local-volume"]
            and v
        )
    )
    # What the node does once it has removed the directory.
    await cluster.client.patch(PersistentVolume, left.name, None, {"metadata": {"finalizers": None}})
    await cluster.until(lambda: not cluster.all(PersistentVolume))


async def test_a_claim_grows_and_never_shrinks(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await add_local_class(cluster)
    await cluster.client.create_tree(PersistentVolumeClaim.resource, claim(), "shop")
    await cluster.client.create_tree(Pod.resource, pod_with_claim(), "shop")

    def size() -> str:
        found = cluster.get(PersistentVolumeClaim, "shop/data")
        return str(found.status.capacity.get("storage", "")) if found is not None else ""

    async def ask(amount: str) -> None:
        patch = {"spec": {"resources": {"requests": {"storage": amount}}}}
        await cluster.client.patch(PersistentVolumeClaim, "data", "shop", patch)

    await cluster.until(size)
    await ask("900Gi")
    await cluster.until(lambda: size() == "900Gi")
    (volume,) = cluster.all(PersistentVolume)
    await cluster.until(lambda: cluster.get(PersistentVolume, volume.name).spec.capacity == {"storage": "900Gi"})
    with pytest.raises(Invalid, match=r"field can not be less than status.capacity"):
        await ask("1Mi")

    def refused(told: str) -> bool:
        return any(event.reason == "VolumeResizeFailed" and told in event.message for event in cluster.all(Event))

    whole = {"metadata": {"annotations": {VOLUMES_CAPACITY: str(to_bytes("1Ti"))}}}
    await cluster.client.patch(Node, "n1", None, whole)
    await cluster.until(lambda: VOLUMES_CAPACITY in cluster.get(Node, "n1").metadata.annotations)
    phases: list[str] = []
    cluster.informers.of(PersistentVolumeClaim).subscribe(lambda key, old, new: phases.append(new.status.phase))
    for amount in ("900Pi", "901Pi"):
        await ask(amount)
        await cluster.until(partial(refused, f"{to_bytes(amount) - to_bytes('900Gi')} bytes more"))
    assert set(phases) == {"Bound"}, "it stays bound while it waits for room"


async def test_a_static_volume_is_bound_to_the_claim_it_fits(cluster: Cluster) -> None:
    for name, size in (("small", "500Mi"), ("large", "10Gi"), ("fitting", "2Gi")):
        tree = {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "manual",
                "hostPath": {"path": f"/srv/{name}"},
            },
        }
        await cluster.client.create_tree(PersistentVolume.resource, tree)
    await cluster.until(lambda: sum(v.status.phase == "Available" for v in cluster.all(PersistentVolume)) == 3)
    await cluster.client.create_tree(PersistentVolumeClaim.resource, claim(storageClassName="manual"), "shop")
    bound = await cluster.until(
        lambda: (c := cluster.get(PersistentVolumeClaim, "shop/data")) and c.status.phase == "Bound" and c
    )
    assert bound.spec.volume_name == "fitting"
    await cluster.client.delete(PersistentVolumeClaim, "data", "shop")
    await cluster.until(lambda: cluster.get(PersistentVolume, "fitting").status.phase == "Released")


async def test_a_cluster_role_shows_the_rules_it_gathers(cluster: Cluster) -> None:
    selector = {"matchLabels": {"to": "all"}}
    gather = {"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": []}
    await cluster.client.create_tree(ClusterRole.resource, gather, None)
    for name, plural in (("b", "pods"), ("a", "secrets"), ("c", "pods")):
        rules = [{"apiGroups": [""], "resources": [plural], "verbs": ["get"]}]
        part = {"metadata": {"name": name, "labels": {"to": "all"}}, "rules": rules}
        await cluster.client.create_tree(ClusterRole.resource, part, None)

    def shown() -> list[str]:
        role = cluster.get(ClusterRole, "all")
        return [plural for rule in role.rules for plural in rule.resources] if role is not None else []

    await cluster.until(lambda: shown() == ["secrets", "pods"])
    await cluster.client.delete(ClusterRole, "a")
    await cluster.until(lambda: shown() == ["pods"])
