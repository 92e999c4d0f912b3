"""Budgets and evictions over the real API: statuses, refusals, many evictions at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cluster_world import Cluster, deployment

from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.machinery.errors import ApiError, TooManyRequests
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import AllowAll

WEB = "shop/web"


def ready(pod: Pod) -> bool:
    condition = next((c.status for c in pod.status.conditions if c.type == "Ready"), "")
    return pod.metadata.deletion_timestamp is None and condition == "True"


async def start(cluster: Cluster, replicas: int, *, labels: Obj | None = None, **spec: Any) -> None:
    await cluster.add_node("n1", cpu="64")
    await cluster.client.create_tree(Deployment.resource, deployment(replicas=replicas), "shop")
    selector = {"matchLabels": labels or {"app": "web"}}
    tree = {"metadata": {"name": "web"}, "spec": {"selector": selector, **spec}}
    await cluster.client.create_tree(PodDisruptionBudget.resource, tree, "shop")
    await cluster.until(lambda: sum(map(ready, cluster.all(Pod))) == replicas)


async def evict(cluster: Cluster, name: str, **options: Any) -> None:
    body: Obj = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "shop"}}
    if options:
        body["deleteOptions"] = options
    await cluster.client.request("POST", f"/api/v1/namespaces/shop/pods/{name}/eviction", body=body)


def allowed(cluster: Cluster, count: int, healthy: int) -> bool:
    found: PodDisruptionBudget | None = cluster.get(PodDisruptionBudget, WEB)
    return found is not None and (found.status.disruptions_allowed, found.status.current_healthy) == (count, healthy)


async def test_a_refusal_says_what_the_budget_needs(cluster: Cluster) -> None:
    await start(cluster, 2, minAvailable=2)
    await cluster.until(lambda: allowed(cluster, 0, 2))
    with pytest.raises(TooManyRequests) as caught:
        await evict(cluster, cluster.all(Pod)[0].name)
    assert caught.value.message == "Cannot evict pod as it would violate the pod's disruption budget."
    (cause,) = caught.value.causes
    assert cause.reason == "DisruptionBudget"
    assert cause.message == "The disruption budget web needs 2 healthy pods and has 2 currently"
    events = (await cluster.client.list(Event, "shop")).items
    assert "BudgetCannotBeMet" in {event.reason for event in events}


async def test_many_evictions_at_once_never_break_the_budget(cluster: Cluster) -> None:
    await start(cluster, 12, maxUnavailable=3)
    await cluster.until(lambda: allowed(cluster, 3, 12))
    least: list[int] = []
    cluster.informers.of(Pod).subscribe(lambda key, old, new: least.append(sum(map(ready, cluster.all(Pod)))))
    least.clear()
    first = {pod.name for pod in cluster.all(Pod)}
    while left := sorted(first & {pod.name for pod in cluster.all(Pod) if pod.metadata.deletion_timestamp is None}):
        answers = await asyncio.gather(*(evict(cluster, name) for name in left), return_exceptions=True)
        assert all(answer is None or isinstance(answer, ApiError) for answer in answers)
        assert sum(answer is None for answer in answers) <= 3
        await cluster.until(lambda: allowed(cluster, 3, 12))
    assert min(least) >= 9


async def test_a_dry_run_charges_nothing(cluster: Cluster) -> None:
    await start(cluster, 2, minAvailable=1)
    await cluster.until(lambda: allowed(cluster, 1, 2))
    pod = cluster.all(Pod)[0]
    await evict(cluster, pod.name, dryRun=["All"])
    found = await cluster.client.get(PodDisruptionBudget, "web", "shop")
    assert (found.status.disruptions_allowed, found.status.disrupted_pods) == (1, {})
    assert (await cluster.client.get(Pod, pod.name, "shop")).metadata.deletion_timestamp is None


async def test_an_evicted_pod_says_why_it_went(cluster: Cluster) -> None:
    await start(cluster, 2, maxUnavailable=1)
    await cluster.until(lambda: allowed(cluster, 1, 2))
    reasons: list[str] = []

    def note(key: str, old: Pod | None, new: Pod | None) -> None:
        if new is not None:
            reasons.extend(c.reason for c in new.status.conditions if c.type == "DisruptionTarget")

    cluster.informers.of(Pod).subscribe(note)
    await evict(cluster, cluster.all(Pod)[0].name)
    await cluster.until(lambda: "EvictionByEvictionAPI" in reasons)
    await cluster.until(lambda: allowed(cluster, 1, 2))


@pytest.mark.parametrize(("policy", "granted"), [("AlwaysAllow", True), ("IfHealthyBudget", False), (None, False)])
async def test_pods_that_are_not_ready(cluster: Cluster, policy: str | None, granted: bool) -> None:
    """With fewer healthy pods than wanted only AlwaysAllow lets a broken one go."""
    broken: set[str] = set()
    cluster.unready = lambda pod: pod.name in broken
    await start(cluster, 3, minAvailable=3, **({"unhealthyPodEvictionPolicy": policy} if policy else {}))
    await cluster.until(lambda: allowed(cluster, 0, 3))
    pod = cluster.all(Pod)[0]
    broken.add(pod.name)
    await cluster.run_pod(pod)
    await cluster.until(lambda: allowed(cluster, 0, 2))
    if granted:
        await evict(cluster, pod.name)
        await cluster.until(lambda: allowed(cluster, 0, 3))
    else:
        with pytest.raises(TooManyRequests):
            await evict(cluster, pod.name)


async def test_two_budgets_over_one_pod_are_named(cluster: Cluster) -> None:
    await start(cluster, 2, minAvailable=1)
    tree = {"metadata": {"name": "other"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 1}}
    await cluster.client.create_tree(PodDisruptionBudget.resource, tree, "shop")
    with pytest.raises(ApiError) as caught:
        await evict(cluster, cluster.all(Pod)[0].name)
    assert caught.value.code == 500
    assert "more than one PodDisruptionBudget" in caught.value.message


async def test_pods_that_have_ended_need_no_budget(cluster: Cluster) -> None:
    await cluster.add_node("n1")
    pod = {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    cluster.runs_pods = False
    tree = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}}
    await cluster.client.create_tree(PodDisruptionBudget.resource, tree, "shop")
    await cluster.client.create_tree(Pod.resource, pod, "shop")
    await cluster.client.patch(Pod, "p", "shop", {"status": {"phase": "Succeeded"}}, subresource="status")
    await evict(cluster, "p")
    await cluster.until(lambda: cluster.get(Pod, "shop/p") is None)


async def test_a_mark_on_a_pod_that_stays_is_taken_back(cluster: Cluster) -> None:
    await start(cluster, 1, minAvailable=0)
    pod = cluster.all(Pod)[0]
    marked = {"type": "DisruptionTarget", "status": "True", "reason": "X", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    patch = {"status": {"conditions": [marked]}}
    await cluster.client.patch(Pod, pod.name, "shop", patch, type="strategic", subresource="status")

    def taken_back() -> bool:
        found: Pod = cluster.get(Pod, pod.key)
        return any(c.type == "DisruptionTarget" and c.status == "False" for c in found.status.conditions)

    await cluster.until(taken_back)


async def test_an_eviction_is_admitted_as_one(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhooks that guard drains look at the creation of pods/eviction."""
    await start(cluster, 2, maxUnavailable=1)
    await cluster.until(lambda: allowed(cluster, 1, 2))
    seen: list[tuple[str, str, str]] = []

    async def admit(request: AdmissionRequest) -> None:
        if request.resource == Pod.resource and (request.subresource == "eviction" or request.operation == "DELETE"):
            kind = request.object["kind"] if request.object else ""
            seen.append((request.operation, request.subresource, kind))

    monkeypatch.setattr(AllowAll, "admit", lambda self, request: admit(request))
    await evict(cluster, cluster.all(Pod)[0].name)
    assert seen[0] == ("CREATE", "eviction", "Eviction")
    assert ("DELETE", "", "") in seen
