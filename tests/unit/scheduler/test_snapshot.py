"""A pod that is bound as it was assumed is counted once, and not anew."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from world import node, pod, snapshot

from pilothouse.kinds.core.pod import Pod


class Follower:
    """Counts what it is told of pods."""

    def __init__(self) -> None:
        self.told = 0

    def pod_changed(self, node: str, pod: object, sign: int) -> None:
        self.told += 1

    def node_changed(self, node: str) -> None: ...

    def nodes_changed(self) -> None: ...

    def namespaces_changed(self) -> None: ...


def bound(one: Pod, to: str) -> Pod:
    return msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, node_name=to))


def test_an_assumption_that_came_true_changes_nothing() -> None:
    world = snapshot(node("a"), node("b"))
    one = pod("p", cpu="1")
    world.assume(one, "a")
    world.follower = follower = Follower()
    assert world.confirm(bound(one.pod, "a"))
    assert not world.is_assumed(one.key)
    assert follower.told == 0
    info = world.node_of(one.key)
    assert info is not None
    assert (info.name, info.requested["cpu"]) == ("a", 1000)


def relabelled(one: Pod) -> Pod:
    meta = msgspec.structs.replace(one.metadata, labels={"app": "other"})
    return msgspec.structs.replace(bound(one, "a"), metadata=meta)


def larger(one: Pod) -> Pod:
    return bound(pod("p", cpu="2").pod, "a")


@pytest.mark.parametrize("made", [lambda one: bound(one, "b"), relabelled, larger])
def test_one_that_turned_out_otherwise_must_be_counted_anew(made: Callable[[Pod], Pod]) -> None:
    world = snapshot(node("a"), node("b"))
    one = pod("p", cpu="1")
    world.assume(one, "a")
    assert not world.confirm(made(one.pod))
    assert world.is_assumed(one.key)


def test_what_was_not_assumed_cannot_be_confirmed() -> None:
    world = snapshot(node("a"))
    assert not world.confirm(bound(pod("p").pod, "a"))
