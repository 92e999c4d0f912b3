"""Why a pod is where it is: every node with what a filter or the scores say of it."""

from __future__ import annotations

from world import node, pod, snapshot

from pilothouse.scheduler.decide import Placement, schedule
from pilothouse.scheduler.explain import explain


def test_fitting_nodes_come_best_first_with_their_scores_and_others_with_their_reasons() -> None:
    world = snapshot(node("a"), node("b"), node("small", cpu="100m"), node("off", unschedulable=True))
    world.assume(pod("other", cpu="2", memory="4Gi"), "a")
    one = pod("p", cpu="1", memory="1Gi")
    found = explain(one, world)
    assert found.chosen == "b"
    assert [(v.node, v.filter, v.reasons) for v in found.verdicts] == [
        ("b", "", ()),
        ("a", "", ()),
        ("off", "NodeUnschedulable", ("node(s) were unschedulable",)),
        ("small", "NodeResourcesFit", ("Insufficient cpu",)),
    ]
    best, second = found.verdicts[:2]
    assert best.scores["NodeResourcesFit"] > second.scores["NodeResourcesFit"]
    assert best.total > second.total


def test_it_is_what_the_scheduler_decides() -> None:
    for size in (5, 70):
        world = snapshot(*(node(f"n{number:03}") for number in range(size)))
        for number in range(10):
            one = pod(f"p{number}", cpu="500m")
            decision = schedule(one, world)
            assert isinstance(decision, Placement)
            found = explain(one, world)
            assert found.chosen == decision.node == found.verdicts[0].node
            world.assume(one, decision.node)


def test_nowhere() -> None:
    found = explain(pod("p", cpu="9"), snapshot(node("a"), node("b")))
    assert (found.chosen, found.message) == ("", "0/2 nodes are available: 2 Insufficient cpu.")
