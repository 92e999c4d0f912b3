"""Nodes: heartbeats, taints, evictions, ranges."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.controllers.node_ipam.decide import RangeExhausted, Ranges
from pilothouse.controllers.node_lifecycle.decide import (
    evict_in,
    unknown_conditions,
    wanted_taints,
)
from pilothouse.controllers.node_lifecycle.heartbeat import Heartbeats
from pilothouse.controllers.node_lifecycle.zones import Zones
from pilothouse.controllers.node_loss import LostNodes
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
UNREACHABLE = "node.kubernetes.io/unreachable"


def node(name: str = "n", ready: str = "True", **spec: Any) -> Node:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    tree = {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}
    return msgspec.convert(tree, Node)


def pod(*tolerations: dict[str, Any]) -> Pod:
    return msgspec.convert({"metadata": {"name": "p"}, "spec": {"tolerations": list(tolerations)}}, Pod)


def test_a_silent_node_is_lost_after_its_grace_and_welcome_back() -> None:
    beats = Heartbeats(grace=40, period=5)
    beats.first_seen("a", 0)
    beats.first_seen("b", 0)
    for now in range(0, 45, 5):
        if now == 30:
            beats.hear("a", now)
        assert beats.tick(now) == ([] if now <= 40 else ["b"])
    beats.hear("b", 46)
    assert beats.tick(45 + 5) == []


def test_a_stall_of_this_process_does_not_count_against_nodes() -> None:
    beats = Heartbeats(grace=40, period=5)
    beats.first_seen("a", 0)
    assert beats.tick(0) == []
    assert beats.tick(100) == []
    assert beats.tick(105) == []
    ticks = [beats.tick(105 + 5 * number) for number in range(1, 9)]
    assert ticks[-1] == ["a"]


def test_unknown_is_written_once() -> None:
    assert {c["type"] for c in unknown_conditions(node(), NOW)} >= {"Ready", "MemoryPressure"}
    assert unknown_conditions(node(ready="Unknown"), NOW) == []


def test_taints_follow_conditions_and_keep_those_of_people() -> None:
    own = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    lost = wanted_taints(node(ready="Unknown", taints=[own]), NOW, may_evict=True)
    assert [(t.key, t.effect) for t in lost] == [
        ("gpu", "NoSchedule"),
        (UNREACHABLE, "NoSchedule"),
        (UNREACHABLE, "NoExecute"),
    ]
    held_back = wanted_taints(node(ready="Unknown"), NOW, may_evict=False)
    assert [t.effect for t in held_back] == ["NoSchedule"]
    tainted = [msgspec.to_builtins(taint) for taint in lost]
    assert [t.key for t in wanted_taints(node(taints=tainted), NOW, may_evict=True)] == ["gpu"]


def test_cordoned_nodes_are_tainted_too() -> None:
    (taint,) = wanted_taints(node(unschedulable=True), NOW, may_evict=True)
    assert (taint.key, taint.effect) == ("node.kubernetes.io/unschedulable", "NoSchedule")


def zone(name: str, nodes: int, unhealthy: int) -> list[Node]:
    made = []
    for number in range(nodes):
        one = node(f"{name}-{number}", "Unknown" if number < unhealthy else "True")
        one.metadata.labels["topology.kubernetes.io/zone"] = name
        made.append(one)
    return made


def zones(*all_of: list[Node]) -> Zones:
    made = Zones()
    for nodes in all_of:
        for one in nodes:
            made.put(one.name, one)
    return made


@pytest.mark.parametrize(
    ("nodes", "unhealthy", "rate"), [(1, 1, 0), (3, 1, 0.1), (10, 6, 0), (100, 60, 0.01), (100, 100, 0)]
)
def test_mass_failures_are_throttled(nodes: int, unhealthy: int, rate: float) -> None:
    assert zones(zone("a", nodes, unhealthy)).rate(("", "a")) == rate


def test_each_zone_is_judged_by_itself() -> None:
    both = zones(zone("a", 10, 10), zone("b", 10, 6), zone("c", 10, 1))
    assert [both.rate(("", name)) for name in "abc"] == [0.1, 0, 0.1]


def test_no_zone_is_given_up_when_none_answers() -> None:
    both = zones(zone("a", 3, 3), zone("b", 2, 2))
    assert both.rate(("", "a")) == 0
    (back,) = zone("b", 1, 0)
    both.put(back.name, back)
    assert both.rate(("", "a")) == 0.1
    both.put(back.name, None)
    assert both.rate(("", "a")) == 0


def test_pods_leave_after_their_toleration() -> None:
    taint = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2026-01-01T11:59:00Z"}
    tainted = node(ready="Unknown", taints=[taint])
    limited = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    assert evict_in(pod(), tainted, NOW) == 0
    assert evict_in(pod(limited), tainted, NOW) == 240
    assert evict_in(pod({"operator": "Exists"}), tainted, NOW) is None
    assert evict_in(pod(), node(), NOW) is None


def test_when_every_node_is_lost_the_judgement_is_not_trusted() -> None:
    loss = LostNodes()
    assert loss.put("a", node("a", "Unknown"))
    assert loss.names() == frozenset()
    assert not loss.is_lost(node("a", "Unknown"))
    assert loss.put("b", node("b"))
    assert not loss.put("b", node("b", "False"))
    assert loss.names() == {"a"}
    assert loss.is_lost(node("a", "Unknown"))
    assert not loss.is_lost(node("b", "Unknown"))
    assert loss.put("b", None)
    assert loss.names() == frozenset()


@given(st.lists(st.integers(0, 19), max_size=60))
def test_ranges_are_never_given_twice_and_the_first_free_one_is_given(switched: list[int]) -> None:
    ranges = Ranges("10.244.0.0/16", 24)
    held: dict[int, str] = {}
    for number in switched:
        if number in held:
            ranges.give_up([held.pop(number)])
            continue
        cidr = ranges.free()
        candidates = (f"10.244.{third}.0/24" for third in range(256))
        assert cidr == next(c for c in candidates if c not in held.values())
        held[number] = cidr
        ranges.take([cidr])


def test_a_range_held_twice_is_free_when_both_gave_it_up() -> None:
    ranges = Ranges("10.244.0.0/16", 24)
    ranges.take(["10.244.0.0/24"])
    ranges.take(["10.244.0.0/24"])
    ranges.give_up(["10.244.0.0/24"])
    assert ranges.free() == "10.244.1.0/24"
    ranges.give_up(["10.244.0.0/24"])
    assert ranges.free() == "10.244.0.0/24"


def test_a_full_range_says_so() -> None:
    ranges = Ranges("10.0.0.0/24", 25)
    ranges.take(["10.0.0.0/25", "10.0.0.128/25"])
    with pytest.raises(RangeExhausted, match=r"10\.0\.0\.0/24"):
        ranges.free()


def test_ranges_of_another_size_or_place_are_not_overlapped() -> None:
    ranges = Ranges("10.244.0.0/16", 24)
    ranges.take(["10.244.0.0/23", "10.244.2.64/26", "10.9.0.0/24", "10.244.255.0/24", "fd00::/64"])
    assert ranges.free() == "10.244.3.0/24"


def test_parts_of_an_ipv6_range() -> None:
    ranges = Ranges("fd00:10:244::/56", 64)
    ranges.take(("10.244.0.0/24", "fd00:10:244::/64"))
    assert ranges.free() == "fd00:10:244:1::/64"
    ranges.take(f"fd00:10:244:{n:x}::/64" for n in range(1, 256))
    with pytest.raises(RangeExhausted, match="no /64 is free in the pod range fd00:10:244::/56"):
        ranges.free()
