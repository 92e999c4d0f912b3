"""Preemption: who goes, where, and for whom the room is kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_arrays import nodes, shapes
from world import node, pod, snapshot

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.policy.pod_disruption_budget import PodDisruptionBudget
from pilothouse.scheduler.decide import Placement, Unschedulable, filter_nodes, schedule
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.preempt import SHARE_OF_NODES, Preemption, preempt
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot
from pilothouse.scheduler.volumes import Claims


def full() -> Snapshot:
    world = snapshot(node("a", cpu="2"), node("b", cpu="2"))
    world.put_pod(pod("important", cpu="2", priority=100), "a")
    world.put_pod(pod("minor", cpu="1", priority=1), "b")
    world.put_pod(pod("middling", cpu="1", priority=5), "b")
    return world


def room(answer: Placement | Unschedulable) -> Preemption | None:
    assert isinstance(answer, Unschedulable)
    return answer.preemption


def names(preemption: Preemption | None) -> list[str]:
    return [victim.pod.name for victim in preemption.victims] if preemption else []


def test_the_least_important_goes_and_no_more_than_needed() -> None:
    found = room(schedule(pod("p", cpu="1", priority=50), full()))
    assert found is not None
    assert (found.node, names(found)) == ("b", ["minor"])
    assert sorted(names(room(schedule(pod("p", cpu="2", priority=50), full())))) == ["middling", "minor"]


def test_equals_are_not_sent_away_and_some_pods_never_send() -> None:
    assert room(schedule(pod("p", cpu="1", priority=1), full())) is None
    assert room(schedule(pod("p", cpu="1", priority=50, preemptionPolicy="Never"), full())) is None


def test_preemption_that_cannot_help_is_not_tried() -> None:
    assert room(schedule(pod("p", cpu="3", priority=1000), full())) is None
    assert room(schedule(pod("p", priority=1000, nodeSelector={"no": "where"}), full())) is None


def test_room_is_kept_from_the_less_important() -> None:
    world = full()
    nominated = pod("p", cpu="1", priority=50)
    world.nominate(nominated, "b")
    world.remove_pod("shop/minor")
    assert isinstance(schedule(pod("q", cpu="1", priority=2), world), Unschedulable)
    assert schedule(nominated, world) == Placement("b")
    assert schedule(pod("r", cpu="1", priority=60), world) == Placement("b")


def budget(allowed: int, *disrupted: str) -> PodDisruptionBudget:
    tree = {
        "metadata": {"name": "b", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"kept": "yes"}}},
        "status": {"disruptionsAllowed": allowed, "disruptedPods": dict.fromkeys(disrupted, "2026-01-01T00:00:00Z")},
    }
    return msgspec.convert(tree, PodDisruptionBudget)


def kept(name: str, priority: int) -> PodInfo:
    return pod(name, cpu="1", priority=priority, labels={"kept": "yes"})


@pytest.mark.parametrize(
    ("budgets", "node_name", "victim"),
    [
        ([], "a", "humble"),
        ([budget(0)], "b", "other"),  # rather a more important pod than a broken budget
        ([budget(1)], "a", "humble"),
        ([budget(0, "humble")], "a", "humble"),  # it is going anyway
    ],
)
def test_budgets_are_kept_where_that_is_possible(
    budgets: list[PodDisruptionBudget], node_name: str, victim: str
) -> None:
    world = snapshot(node("a", cpu="1"), node("b", cpu="1"))
    world.put_pod(kept("humble", 1), "a")
    world.put_pod(pod("other", cpu="1", priority=9), "b")
    world.budgets = budgets
    found = room(schedule(pod("p", cpu="1", priority=50), world))
    assert found is not None
    assert (found.node, names(found)) == (node_name, [victim])


def test_on_one_node_the_covered_are_spared_and_none_if_there_is_no_other_way() -> None:
    world = snapshot(node("a", cpu="2"))
    world.put_pod(kept("humble", 1), "a")
    world.put_pod(pod("other", cpu="1", priority=9), "a")
    world.budgets = [budget(0)]
    assert names(room(schedule(pod("p", cpu="1", priority=50), world))) == ["other"]
    assert sorted(names(room(schedule(pod("p", cpu="2", priority=50), world)))) == ["humble", "other"]


@settings(max_examples=150, deadline=None)
@given(st.lists(nodes, min_size=1, max_size=4), st.lists(shapes, max_size=8), shapes)
def test_what_is_counted_in_step_is_what_would_be_counted_anew(
    made: list[Node], others: list[dict[str, Any]], shape: dict[str, Any]
) -> None:
    world = snapshot(*made)
    for number, other in enumerate(others):
        at = world.nodes()[number % len(world.nodes())]
        world.put_pod(pod(f"p{number}", priority=number % 3, **other), at.name)
    subject = pod("new", priority=2, **shape)
    answer = schedule(subject, world)
    if not isinstance(answer, Unschedulable) or answer.preemption is None:
        return
    found = answer.preemption
    for victim in found.victims:
        world.remove_pod(victim.key)
    feasible, _ = filter_nodes(subject, world.nodes(), world, Claims())
    assert found.node in {info.name for info in feasible}
    # None of them would have had to stay for it.
    for victim in found.victims:
        world.put_pod(victim, found.node)
        feasible, _ = filter_nodes(subject, world.nodes(), world, Claims())
        assert found.node not in {info.name for info in feasible}
        world.remove_pod(victim.key)


def test_a_large_cluster_is_not_searched_to_its_end() -> None:
    world = snapshot(*(node(f"n{number:04}", cpu="1") for number in range(2_000)))
    for number in range(2_000):
        world.put_pod(pod(f"p{number}", cpu="1", priority=number % 7), f"n{number:04}")
    looked: set[str] = set()

    def check(info: NodeInfo, spreads: object, affinity: object) -> bool:
        looked.add(info.name)
        return not info.pods

    found = preempt(pod("new", cpu="1", priority=50), world, check)
    assert found is not None
    assert len(looked) == 2_000 // SHARE_OF_NODES
    assert [victim.priority for victim in found.victims] == [0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=12), st.integers(1, 4), st.integers(0, 9))
def test_the_snapshot_is_left_as_it_was_and_victims_suffice(
    pods: list[tuple[int, int]], cpu: int, priority: int
) -> None:
    world = snapshot(node("a"), node("b"))
    for number, (size, rank) in enumerate(pods):
        one = pod(f"p{number}", cpu=str(size), priority=rank)
        answer = schedule(one, world)
        if isinstance(answer, Placement):
            world.put_pod(one, answer.node)
    before = {info.name: (dict(info.requested), set(info.pods)) for info in world.nodes()}
    subject = pod("new", cpu=str(cpu), priority=priority)
    answer = schedule(subject, world)
    assert {info.name: (dict(info.requested), set(info.pods)) for info in world.nodes()} == before
    if isinstance(answer, Unschedulable) and answer.preemption is not None:
        assert all(victim.priority < priority for victim in answer.preemption.victims)
        for victim in answer.preemption.victims:
            world.remove_pod(victim.key)
        assert schedule(subject, world) == Placement(answer.preemption.node)
