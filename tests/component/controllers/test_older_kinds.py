"""ReplicationControllers and Endpoints, which older clients still use."""

from __future__ import annotations

import pytest
from cluster_world import Cluster, deployment

from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.endpoints import Endpoints
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.replication_controller import ReplicationController
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj

SERVICE: Obj = {
    "metadata": {"name": "web", "labels": {"team": "a"}},
    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
}


def replication(replicas: int = 2) -> Obj:
    tree = deployment(replicas=replicas)
    tree["spec"]["selector"] = {"app": "web"}
    return tree


async def test_a_replication_controller_keeps_its_pods(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    await cluster.client.create_tree(ReplicationController.resource, replication(), "shop")

    def ready(count: int) -> bool:
        found = cluster.get(ReplicationController, "shop/web")
        return found is not None and found.status.ready_replicas == found.status.replicas == count

    await cluster.until(lambda: ready(2))
    assert {p.controller().kind for p in cluster.all(Pod)} == {"ReplicationController"}
    path = "/api/v1/namespaces/shop/replicationcontrollers/web/scale"
    merge = "application/merge-patch+json"
    await cluster.client.request("PATCH", path, body={"spec": {"replicas": 3}}, content_type=merge)
    await cluster.until(lambda: ready(3))
    await cluster.client.delete(ReplicationController, "web", "shop", propagation_policy="Background")
    await cluster.until(lambda: not cluster.all(Pod))


async def test_a_replication_controllers_selector_fits_its_template(cluster: Cluster) -> None:
    tree = replication()
    tree["spec"]["selector"] = {"app": "other"}
    with pytest.raises(Invalid) as caught:
        await cluster.client.create_tree(ReplicationController.resource, tree, "shop")
    assert "`selector` does not match template `labels`" in caught.value.message


async def test_endpoints_say_what_the_slices_say(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    broken: set[str] = set()
    cluster.unready = lambda pod: pod.name in broken
    await cluster.client.create_tree(Service.resource, SERVICE, "shop")
    await cluster.client.create_tree(Deployment.resource, deployment(), "shop")

    def counts(ready: int, waiting: int) -> bool:
        found: Endpoints | None = cluster.get(Endpoints, "shop/web")
        if found is None or len(found.subsets) != 1:
            return False
        return (len(found.subsets[0].addresses), len(found.subsets[0].not_ready_addresses)) == (ready, waiting)

    await cluster.until(lambda: counts(3, 0))
    found: Endpoints = cluster.get(Endpoints, "shop/web")
    assert [(p.name, p.port, p.protocol) for p in found.subsets[0].ports] == [("http", 8080, "TCP")]
    assert found.metadata.labels == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert all(a.node_name == "n1" and a.target_ref is not None for a in found.subsets[0].addresses)
    pod = cluster.all(Pod)[0]
    broken.add(pod.name)
    await cluster.run_pod(pod)
    await cluster.until(lambda: counts(2, 1))
    await cluster.client.delete(Service, "web", "shop")
    await cluster.until(lambda: cluster.get(Endpoints, "shop/web") is None)


async def test_peoples_own_endpoints_are_mirrored(cluster: Cluster) -> None:
    spec = {"ports": [{"name": "sql", "port": 5432}]}
    await cluster.client.create_tree(Service.resource, {"metadata": {"name": "db"}, "spec": spec}, "shop")
    subset = {"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "sql", "port": 5432}]}
    await cluster.client.create_tree(Endpoints.resource, {"metadata": {"name": "db"}, "subsets": [subset]}, "shop")

    def addresses() -> list[str]:
        return sorted(a for s in cluster.all(EndpointSlice) for e in s.endpoints for a in e.addresses)

    await cluster.until(lambda: addresses() == ["192.0.2.7"])
    (made,) = cluster.all(EndpointSlice)
    assert made.metadata.labels["kubernetes.io/service-name"] == "db"
    assert made.controller().kind == "Endpoints"
    more = {**subset, "addresses": [{"ip": "192.0.2.7"}, {"ip": "192.0.2.8"}]}
    await cluster.client.patch(Endpoints, "db", "shop", {"subsets": [more]})
    await cluster.until(lambda: addresses() == ["192.0.2.7", "192.0.2.8"])
    await cluster.client.delete(Endpoints, "db", "shop")
    await cluster.until(lambda: not cluster.all(EndpointSlice))


@pytest.mark.parametrize(
    ("subset", "text"),
    [
        ({}, "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        ({"addresses": [{"ip": "127.0.0.1"}]}, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ({"addresses": [{"ip": "web"}]}, "must be a valid IP address"),
        ({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}, {"port": 2}]}, "ports[0].name: Required value"),
    ],
)
async def test_endpoints_that_are_wrong_are_refused(cluster: Cluster, subset: Obj, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        await cluster.client.create_tree(Endpoints.resource, {"metadata": {"name": "db"}, "subsets": [subset]}, "shop")
    assert text in caught.value.message
