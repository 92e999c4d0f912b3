"""The two ways of deciding, plain and by arrays, give the same nodes and the same reasons, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import node, pod, snapshot

from pilothouse.kinds.core.node import Node
from pilothouse.scheduler import decide, volumes
from pilothouse.scheduler.arrays import LEAST_NODES
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot

ZONE, HOST, DISK = "topology.kubernetes.io/zone", "kubernetes.io/hostname", "disk"
NAMES = [f"n{number}" for number in range(6)]
APPS = st.sampled_from(["web", "db"])

labels = st.fixed_dictionaries({}, optional={ZONE: st.sampled_from("ab"), DISK: st.sampled_from(["ssd", ""])})
taints = st.lists(
    st.builds(
        lambda effect: {"key": "k", "value": "v", "effect": effect},
        st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ),
    max_size=1,
)
images = st.lists(st.just({"names": ["i"], "sizeBytes": 500 << 20}), max_size=1)
nodes = st.builds(
    lambda name, labels, taints, cpu, images, unschedulable: node(
        name, labels=labels, taints=taints, cpu=cpu, images=images, unschedulable=unschedulable
    ),
    st.sampled_from(NAMES),
    labels,
    taints,
    st.sampled_from(["1", "4"]),
    images,
    st.sampled_from([False, False, False, True]),
)


def term(key: str, app: str, everywhere: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {**found, "namespaceSelector": {}} if everywhere else found


terms = st.builds(term, st.sampled_from([ZONE, HOST]), APPS, st.booleans())
weighted = st.builds(lambda t, w: {"podAffinityTerm": t, "weight": w}, terms, st.sampled_from([1, 50]))


def sides(required: list[Any], preferred: list[Any]) -> dict[str, Any]:
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": required,
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }


side = st.builds(sides, st.lists(terms, max_size=1), st.lists(weighted, max_size=2))
node_side = st.builds(
    lambda weight: {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": weight, "preference": {"matchExpressions": [{"key": DISK, "operator": "Exists"}]}}
        ]
    },
    st.integers(1, 100),
)
affinity = st.fixed_dictionaries({}, optional={"podAffinity": side, "podAntiAffinity": side, "nodeAffinity": node_side})
constraints = st.lists(
    st.fixed_dictionaries(
        {
            "maxSkew": st.integers(1, 2),
            "topologyKey": st.sampled_from([ZONE, HOST]),
            "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
            "labelSelector": st.builds(lambda app: {"matchLabels": {"app": app}}, APPS),
        },
        optional={
            "minDomains": st.integers(1, 3),
            "nodeTaintsPolicy": st.just("Honor"),
            "nodeAffinityPolicy": st.just("Ignore"),
        },
    ),
    max_size=2,
)
shapes = st.fixed_dictionaries(
    {"labels": st.builds(lambda app: {"app": app}, APPS), "affinity": affinity},
    optional={
        "cpu": st.sampled_from(["100m", "900m"]),
        "memory": st.just("1Gi"),
        "topologySpreadConstraints": constraints,
        "nodeSelector": st.just({DISK: "ssd"}),
        "tolerations": st.just([{"operator": "Exists"}]),
        "ports": st.just([{"containerPort": 80, "hostPort": 80}]),
        "schedulerName": st.just("bin-packing-scheduler"),
        "owner": st.sampled_from(["web-1", "web-2"]),
    },
)
Step = Callable[[Snapshot, list[PodInfo]], None]


def comes(shape: dict[str, Any]) -> Step:
    def step(world: Snapshot, placed: list[PodInfo]) -> None:
        one = pod(f"p{len(placed)}", **shape)
        few = decide._best_of_few(one, world, volumes.Claims())
        many = decide._best_of_many(one, world, volumes.Claims())
        assert list(many[0]) == few[0]
        if not few[0]:
            assert many[1] == few[1]
        else:
            world.assume(one, few[0][0])
            placed.append(one)

    return step


def goes(which: int) -> Step:
    return lambda world, placed: world.remove_pod(placed[which % len(placed)].key) if placed else None


def changes(one: Node) -> Step:
    return lambda world, placed: world.put_node(one)


def leaves(name: str) -> Step:
    return lambda world, placed: world.remove_node(name)


steps = st.lists(
    st.one_of(
        st.builds(comes, shapes),
        st.builds(comes, shapes),
        st.builds(comes, shapes),
        st.builds(goes, st.integers(0, 20)),
        st.builds(changes, nodes),
        st.builds(leaves, st.sampled_from(NAMES)),
    ),
    min_size=8,
    max_size=30,
)


@settings(max_examples=300)
@given(st.lists(nodes, min_size=4, max_size=8), steps)
def test_arrays_decide_as_plain_python_does(present: list[Node], happening: list[Step]) -> None:
    world = snapshot(*present)
    placed: list[PodInfo] = []
    for step in happening:
        step(world, placed)


def test_what_is_kept_is_bounded_and_relearned() -> None:
    """More shapes of pods than are kept, and more changes than the journal holds."""
    world = snapshot(*(node(f"m{number}", cpu="64", pods="9999") for number in range(3)))
    placed: list[PodInfo] = []
    for number in range(150):
        comes({"cpu": f"{number % 90 + 1}m"})(world, placed)
    for number in range(9000):
        world.assume(pod(f"q{number}", cpu="1m"), f"m{number % 3}")
    comes({"cpu": "1m"})(world, placed)
    comes({"cpu": "60"})(world, placed)


def test_many_nodes_are_decided_by_arrays_and_few_without() -> None:
    few = snapshot(*(node(f"m{number}") for number in range(LEAST_NODES - 1)))
    decide.schedule(pod("p"), few)
    assert few.follower is None
    few.put_node(node("z"))
    assert isinstance(decide.schedule(pod("p"), few), decide.Placement)
    assert few.follower is not None


def test_a_packing_scheduler_fills_nodes() -> None:
    for size in (3, LEAST_NODES):
        world = snapshot(*(node(f"m{number:02}") for number in range(size)))
        world.assume(pod("first", cpu="1", memory="2Gi"), "m01")
        packed = decide.schedule(pod("p", cpu="1", memory="2Gi", schedulerName="bin-packing-scheduler"), world)
        spread = decide.schedule(pod("p", cpu="1", memory="2Gi"), world)
        assert isinstance(packed, decide.Placement)
        assert isinstance(spread, decide.Placement)
        assert packed.node == "m01"
        assert spread.node != "m01"


def test_a_heartbeat_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = snapshot(*(node(f"m{number}") for number in range(LEAST_NODES)))
    decide.schedule(pod("p"), world)
    told: list[str] = []
    monkeypatch.setattr(world.follower, "node_changed", told.append)
    world.put_node(msgspec.convert(msgspec.to_builtins(node("m1")), Node))
    assert told == []
    world.put_node(node("m1", labels={"a": "b"}))
    assert told == ["m1"]
