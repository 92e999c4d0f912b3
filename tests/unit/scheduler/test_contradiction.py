"""Pods that ask for what cannot be: it is said so, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import node, pod, snapshot

from pilothouse.scheduler.contradiction import contradiction
from pilothouse.scheduler.decide import Placement, Unschedulable, schedule


def required(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


def asks(operator: str, *values: str, key: str = "disk") -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


NEVER = [asks("In", "ssd"), asks("NotIn", "ssd")]


@pytest.mark.parametrize(
    "term",
    [
        NEVER,
        [asks("In", "a", "b"), asks("In", "c")],
        [asks("Exists"), asks("DoesNotExist")],
        [asks("In", "a"), asks("DoesNotExist")],
        [asks("Gt", "4"), asks("Lt", "5")],
        [asks("In", "3", "x"), asks("Gt", "3")],
        [asks("Gt", "many")],
        [asks("Lt")],
    ],
)
def test_a_term_that_no_node_can_meet(term: list[dict[str, Any]]) -> None:
    assert "the node's disk contradicts itself" in contradiction(pod("p", **required(term)))
    assert contradiction(pod("p", **required(term, [asks("In", "hdd")]))) == ""


def test_the_node_selector_counts_in_every_term() -> None:
    both = required([asks("In", "ssd")], [asks("In", "nvme")])
    assert "disk" in contradiction(pod("p", nodeSelector={"disk": "hdd"}, **both))
    assert contradiction(pod("p", nodeSelector={"disk": "nvme"}, **both)) == ""


def test_near_and_away_from_the_same_pods() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}
    rules = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    other = {"requiredDuringSchedulingIgnoredDuringExecution": [{**term, "topologyKey": "zone"}]}
    assert "near and away" in contradiction(pod("p", affinity={"podAffinity": rules, "podAntiAffinity": rules}))
    assert contradiction(pod("p", affinity={"podAffinity": other, "podAntiAffinity": rules})) == ""


def test_it_is_told_with_the_reasons() -> None:
    answer = schedule(pod("p", **required(NEVER)), snapshot(node("a")))
    assert isinstance(answer, Unschedulable)
    assert answer.message == (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        " What the pod asks of the node's disk contradicts itself: no node can ever do."
    )


VALUES = st.sampled_from(["1", "2", "3", "x"])
REQUIREMENTS = st.one_of(
    st.builds(asks, st.sampled_from(["In", "NotIn"]), VALUES),
    st.builds(asks, st.sampled_from(["In", "NotIn"]), VALUES, VALUES),
    st.builds(asks, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(asks, st.sampled_from(["Gt", "Lt"]), st.sampled_from(["0", "1", "2", "3"])),
)


@given(st.lists(REQUIREMENTS, min_size=1, max_size=4))
def test_it_is_said_exactly_when_no_node_will_do(term: list[dict[str, Any]]) -> None:
    """Of every value that could matter, and of none. `02` is as much as `2`, and another value."""
    values = ("-9", "0", "1", "2", "3", "9", "01", "02", "03", "x", "y")
    nodes = [node("none"), *(node(f"n{value}", labels={"disk": value}) for value in values)]
    one = pod("p", **required(term))
    assert bool(contradiction(one)) == (not isinstance(schedule(one, snapshot(*nodes)), Placement))
