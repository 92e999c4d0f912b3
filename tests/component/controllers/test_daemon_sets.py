"""DaemonSets and ephemeral volumes over the real API: pods follow nodes, updates keep their bounds."""

from __future__ import annotations

from typing import Any

from cluster_world import Cluster, deployment

from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

AGENT = "shop/agent"
CLAIM_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def daemon_set(**spec: Any) -> Obj:
    tree = deployment("agent", image="agent:1", **spec)
    del tree["spec"]["replicas"]
    tree["spec"]["template"]["spec"]["nodeSelector"] = {"role": "worker"}
    return tree


async def add_workers(cluster: Cluster, *names: str) -> None:
    for name in names:
        await cluster.add_node(name)
        await label(cluster, name, "worker")


async def label(cluster: Cluster, node: str, role: str | None) -> None:
    await cluster.client.patch(Node, node, None, {"metadata": {"labels": {"role": role}}})


def nodes(cluster: Cluster) -> list[str]:
    """Where pods run that are not about to go."""
    living = [pod for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp is None]
    return sorted(pod.spec.node_name or "" for pod in living)


def settled(cluster: Cluster, wanted: int, image: str = "agent:1") -> bool:
    found: DaemonSet | None = cluster.get(DaemonSet, AGENT)
    if found is None:
        return False
    status = found.status
    return (
        status.observed_generation == found.metadata.generation
        and status.desired_number_scheduled == status.current_number_scheduled == wanted == len(cluster.all(Pod))
        and status.number_available == status.updated_number_scheduled == status.number_ready == wanted
        and all(pod.spec.containers[0].image == image for pod in cluster.all(Pod))
    )


async def set_image(cluster: Cluster, image: str) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    await cluster.client.patch(DaemonSet, "agent", "shop", {"spec": {"template": template}}, type="strategic")


async def test_pods_follow_the_nodes(cluster: Cluster) -> None:
    await add_workers(cluster, "n1", "n2")
    await cluster.add_node("n3")
    await cluster.client.create_tree(DaemonSet.resource, daemon_set(), "shop")
    await cluster.until(lambda: settled(cluster, 2))
    assert nodes(cluster) == ["n1", "n2"]
    await label(cluster, "n3", "worker")
    await cluster.until(lambda: settled(cluster, 3))
    await label(cluster, "n1", None)
    await cluster.until(lambda: settled(cluster, 2) and nodes(cluster) == ["n2", "n3"])
    pod = cluster.all(Pod)[0]
    assert pod.metadata.labels["controller-revision-hash"]
    assert {t.key.removeprefix("node.kubernetes.io/") for t in pod.spec.tolerations} >= {
        "not-ready",
        "unreachable",
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
    }


async def test_taints_keep_pods_off_or_drive_them_out(cluster: Cluster) -> None:
    await add_workers(cluster, "n1", "n2")
    await cluster.client.patch(Node, "n1", None, {"spec": {"unschedulable": True}})
    await cluster.client.create_tree(DaemonSet.resource, daemon_set(), "shop")
    await cluster.until(lambda: settled(cluster, 2))
    taints = [{"key": "own", "effect": "NoSchedule"}]
    await cluster.client.patch(Node, "n2", None, {"spec": {"taints": taints}})
    await cluster.until(lambda: cluster.get(DaemonSet, AGENT).status.number_misscheduled == 1)
    assert nodes(cluster) == ["n1", "n2"]
    await cluster.client.patch(Node, "n2", None, {"spec": {"taints": [{"key": "own", "effect": "NoExecute"}]}})
    await cluster.until(lambda: nodes(cluster) == ["n1"])


async def test_an_update_takes_one_node_after_the_other(cluster: Cluster) -> None:
    await add_workers(cluster, "n1", "n2", "n3")
    await cluster.client.create_tree(DaemonSet.resource, daemon_set(), "shop")
    await cluster.until(lambda: settled(cluster, 3))
    ready: list[int] = []
    cluster.informers.of(Pod).subscribe(
        lambda key, old, new: ready.append(
            sum(
                pod.metadata.deletion_timestamp is None
                and any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
                for pod in cluster.all(Pod)
            )
        )
    )
    ready.clear()
    await set_image(cluster, "agent:2")
    await cluster.until(lambda: settled(cluster, 3, "agent:2"))
    assert min(ready) >= 2
    old = min(cluster.all(ControllerRevision), key=lambda revision: revision.revision)
    await cluster.client.patch(DaemonSet, "agent", "shop", old.data, type="strategic")
    await cluster.until(lambda: settled(cluster, 3, "agent:1"))
    assert sorted(r.revision for r in cluster.all(ControllerRevision)) == [2, 3]


async def test_a_surge_starts_the_new_pod_first(cluster: Cluster) -> None:
    await add_workers(cluster, "n1", "n2")
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await cluster.client.create_tree(DaemonSet.resource, daemon_set(updateStrategy=strategy), "shop")
    await cluster.until(lambda: settled(cluster, 2))
    most: list[int] = []
    cluster.informers.of(Pod).subscribe(lambda key, old, new: most.append(len(nodes(cluster))))
    await set_image(cluster, "agent:2")
    await cluster.until(lambda: settled(cluster, 2, "agent:2"))
    assert max(most) == 3
    assert min(most) >= 2


async def test_on_delete_updates_what_is_deleted(cluster: Cluster) -> None:
    await add_workers(cluster, "n1", "n2")
    await cluster.client.create_tree(DaemonSet.resource, daemon_set(updateStrategy={"type": "OnDelete"}), "shop")
    await cluster.until(lambda: settled(cluster, 2))
    await set_image(cluster, "agent:2")
    await cluster.until(lambda: cluster.get(DaemonSet, AGENT).status.updated_number_scheduled == 0)
    for pod in cluster.all(Pod):
        await cluster.client.delete(Pod, pod.name, "shop")
    await cluster.until(lambda: settled(cluster, 2, "agent:2"))


async def test_deleting_takes_pods_and_history_along(cluster: Cluster) -> None:
    await add_workers(cluster, "n1")
    await cluster.client.create_tree(DaemonSet.resource, daemon_set(), "shop")
    await cluster.until(lambda: settled(cluster, 1))
    await cluster.client.delete(DaemonSet, "agent", "shop", propagation_policy="Foreground")
    await cluster.until(lambda: not cluster.all(DaemonSet) and not cluster.all(ControllerRevision))
    assert not cluster.all(Pod)


async def test_ephemeral_volumes_get_claims_of_their_own(cluster: Cluster) -> None:
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM_SPEC}}}
    container = {"name": "c", "image": "c:1", "volumeMounts": [{"name": "scratch", "mountPath": "/s"}]}
    pod = {"metadata": {"name": "one"}, "spec": {"containers": [container], "volumes": [volume]}}
    await cluster.client.create_tree(Pod.resource, pod, "shop")
    claim = await cluster.until(lambda: cluster.get(PersistentVolumeClaim, "shop/one-scratch"))
    assert claim.controller().uid == cluster.get(Pod, "shop/one").metadata.uid
    await cluster.client.delete(Pod, "one", "shop", grace_period_seconds=0)
    await cluster.until(lambda: not cluster.all(PersistentVolumeClaim))


async def test_a_foreign_claim_is_told_and_not_used(cluster: Cluster) -> None:
    foreign = {"metadata": {"name": "two-scratch"}, "spec": CLAIM_SPEC}
    await cluster.client.create_tree(PersistentVolumeClaim.resource, foreign, "shop")
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM_SPEC}}}
    pod = {"metadata": {"name": "two"}, "spec": {"containers": [{"name": "c", "image": "c:1"}], "volumes": [volume]}}
    cluster.informers.of(Event).subscribe(lambda key, old, new: cluster._changed.set())
    await cluster.client.create_tree(Pod.resource, pod, "shop")
    told = await cluster.until(lambda: [e for e in cluster.all(Event) if e.involved_object.name == "two"])
    assert any("was not created for pod" in event.message for event in told)
