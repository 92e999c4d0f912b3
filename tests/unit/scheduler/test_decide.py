"""Placements, and the reasons why there is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import node, pod, snapshot

from pilothouse.kinds.core.node import ZONE, Node
from pilothouse.scheduler.decide import Placement, Unschedulable, schedule
from pilothouse.scheduler.pod_info import PodInfo, requests_of


def near(key: str, **labels: str) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": labels}}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}


def refused(subject: PodInfo, *nodes: Any) -> str:
    answer = schedule(subject, snapshot(*nodes))
    assert isinstance(answer, Unschedulable)
    return answer.message


def test_reasons_are_counted_and_sorted() -> None:
    message = refused(
        pod("p", memory="6Gi"),
        node("a", memory="4Gi"),
        node("b", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
    )
    assert message == "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {k: v}."


@pytest.mark.parametrize(
    ("subject", "target", "reason"),
    [
        (pod("p", cpu="5"), node("a"), "1 Insufficient cpu"),
        (pod("p", cpu="5", memory="9Gi"), node("a"), "1 Insufficient cpu, 1 Insufficient memory"),
        (pod("p"), node("a", pods="0"), "1 Too many pods"),
        (pod("p"), node("a", unschedulable=True), "1 node(s) were unschedulable"),
        (pod("p", nodeSelector={"disk": "ssd"}), node("a"), "1 node(s) didn't match Pod's node affinity/selector"),
        (
            pod("p", affinity={"podAffinity": required(near(ZONE, app="db"))}),
            node("a", labels={ZONE: "z"}),
            "1 node(s) didn't match pod affinity rules",
        ),
    ],
)
def test_a_reason(subject: PodInfo, target: Any, reason: str) -> None:
    assert refused(subject, target) == f"0/1 nodes are available: {reason}."


def test_without_nodes() -> None:
    assert refused(pod("p")) == "no nodes available to schedule pods"


def test_a_missing_claim_is_named() -> None:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    message = refused(pod("p", volumes=volumes), node("a"))
    assert message == '0/1 nodes are available: persistentvolumeclaim "data" not found.'


def test_tolerations_and_cordons() -> None:
    tolerant = pod("p", tolerations=[{"operator": "Exists"}])
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    assert schedule(tolerant, snapshot(node("a", taints=[taint], unschedulable=True))) == Placement("a")


def test_host_ports_clash_only_on_the_same_address_and_protocol() -> None:
    world = snapshot(node("a"))
    world.put_pod(pod("other", ports=[{"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1"}]), "a")
    clash = pod("p", ports=[{"containerPort": 1, "hostPort": 80}])
    elsewhere = pod("p", ports=[{"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.2"}])
    udp = pod("p", ports=[{"containerPort": 1, "hostPort": 80, "protocol": "UDP"}])
    assert isinstance(schedule(clash, world), Unschedulable)
    assert schedule(elsewhere, world) == schedule(udp, world) == Placement("a")


def test_node_affinity_by_expressions_and_by_name() -> None:
    world = snapshot(node("a", labels={"cores": "8"}), node("b", labels={"cores": "32"}))
    by_size = [{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["16"]}]}]
    by_name = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]
    for terms, expected in ((by_size, "b"), (by_name, "a")):
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        assert schedule(pod("p", affinity={"nodeAffinity": required}), world) == Placement(expected)


def test_anti_affinity_works_both_ways() -> None:
    world = snapshot(node("a"), node("b"))
    apart = {"podAntiAffinity": required(near("kubernetes.io/hostname", app="db"))}
    world.put_pod(pod("db-1", labels={"app": "db"}, affinity=apart), "a")
    assert schedule(pod("db-2", labels={"app": "db"}, affinity=apart), world) == Placement("b")
    assert schedule(pod("db-3", labels={"app": "db"}), world) == Placement("b")
    world.put_pod(pod("db-2", labels={"app": "db"}, affinity=apart), "b")
    answer = schedule(pod("db-3", labels={"app": "db"}), world)
    assert isinstance(answer, Unschedulable)
    assert answer.message == ("0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.")


def test_the_first_pod_of_a_kind_that_seeks_its_own_goes_anywhere() -> None:
    world = snapshot(node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "2"}), node("c", labels={ZONE: "2"}))
    together = {"podAffinity": required(near(ZONE, app="db"))}
    first = pod("db-1", labels={"app": "db"}, affinity=together)
    assert isinstance(schedule(first, world), Placement)
    world.put_pod(first, "b")
    second = schedule(pod("db-2", labels={"app": "db"}, affinity=together), world)
    assert isinstance(second, Placement)
    assert second.node in ("b", "c")


def test_hard_spread_keeps_the_skew() -> None:
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": ZONE,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    world = snapshot(*(node(name, labels={ZONE: name}) for name in "abc"))
    counts = dict.fromkeys("abc", 0)
    for number in range(9):
        one = pod(f"w{number}", labels={"app": "web"}, topologySpreadConstraints=spread)
        answer = schedule(one, world)
        assert isinstance(answer, Placement)
        world.assume(one, answer.node)
        counts[answer.node] += 1
        assert max(counts.values()) - min(counts.values()) <= 1


def test_the_emptier_node_wins() -> None:
    world = snapshot(node("a"), node("b"))
    world.put_pod(pod("other", cpu="2", memory="4Gi"), "a")
    assert schedule(pod("p", cpu="100m"), world) == Placement("b")


def test_a_node_that_has_the_image_wins() -> None:
    image = {"names": ["i:latest"], "sizeBytes": 900 * 1024 * 1024}
    assert schedule(pod("p"), snapshot(node("a"), node("b", images=[image]))) == Placement("b")


def test_init_containers_sidecars_and_overhead_count() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": "x", "resources": {"requests": {"cpu": cpu}}, **more}

    subject = pod(
        "p",
        cpu="1",
        initContainers=[container("1", restartPolicy="Always"), container("3")],
        overhead={"cpu": "250m"},
    )
    assert requests_of(subject.pod) == {"cpu": 4250, "pods": 1}


_CPU = st.integers(1, 30).map(lambda tenths: f"{tenths}00m")


@settings(max_examples=100, deadline=None)
@given(st.lists(_CPU, min_size=1, max_size=40), st.lists(st.integers(1, 8), min_size=1, max_size=5), st.integers())
def test_no_node_is_ever_overcommitted(pods: list[str], nodes: list[int], seed: int) -> None:
    world = snapshot(*(node(f"n{number}", cpu=str(cpu), pods="10") for number, cpu in enumerate(nodes)))
    for number, cpu in enumerate(pods):
        one = pod(f"p{number}", cpu=cpu)
        answer = schedule(one, world, seed=seed)
        assert answer == schedule(one, world, seed=seed)
        if isinstance(answer, Placement):
            world.assume(one, answer.node)
        else:
            assert all(
                info.requested.get("cpu", 0) + one.requests["cpu"] > info.allocatable["cpu"]
                or info.requested.get("pods", 0) >= 10
                for info in world.nodes()
            )
    for info in world.nodes():
        assert all(info.requested.get(name, 0) <= whole for name, whole in info.allocatable.items())


def replicas(count: int, *nodes: Node, **fields: Any) -> list[str]:
    """On which nodes so many pods of one ReplicaSet are placed, one after another."""
    world = snapshot(*nodes)
    chosen = []
    for number in range(count):
        one = pod(f"web-{number}", cpu="100m", owner="web", **fields)
        answer = schedule(one, world)
        assert isinstance(answer, Placement)
        world.assume(one, answer.node)
        chosen.append(answer.node)
    return chosen


def test_pods_of_one_controller_are_kept_apart_without_being_asked() -> None:
    large, small = node("large", cpu="64", memory="256Gi"), node("small", cpu="4")
    assert sorted(replicas(4, large, small)) == ["large", "large", "small", "small"]
    zones = [node(f"{zone}{number}", labels={ZONE: zone}) for zone in "ab" for number in range(2)]
    assert sorted(replicas(4, *zones)) == ["a0", "a1", "b0", "b1"]
    assert {name[0] for name in replicas(2, *zones)} == {"a", "b"}


def test_constraints_of_its_own_and_packing_come_before_that() -> None:
    large, small = node("large", cpu="64", memory="256Gi"), node("small", cpu="4")
    assert set(replicas(4, large, small, schedulerName="bin-packing-scheduler")) == {"small"}
    loose = [
        {
            "maxSkew": 9,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "other"}},
        }
    ]
    assert set(replicas(4, large, small, topologySpreadConstraints=loose)) == {"large"}


def test_a_pod_that_is_being_deleted_is_in_nobodys_way() -> None:
    world = snapshot(node("large", cpu="64", memory="256Gi"), node("small", cpu="4"))
    going = pod("web-0", cpu="100m", owner="web")
    going.pod.metadata.deletion_timestamp = "2026-01-01T12:00:00Z"
    world.put_pod(going, "large")
    answer = schedule(pod("web-1", cpu="100m", owner="web"), world)
    assert isinstance(answer, Placement)
    assert answer.node == "large"
