"""What holds at every step of a StatefulSet's and a DaemonSet's update, however late the controller sees it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from set_worlds import DaemonWorld, StatefulWorld

from pilothouse.kinds.core.pod import Pod

_STEPS = st.lists(st.tuples(st.sampled_from(["step", "look", "ready", "end", "roll"]), st.integers(0, 7)), max_size=80)


def rolling(**amounts: int | str) -> dict[str, object]:
    return {"type": "RollingUpdate", "rollingUpdate": amounts}


def play(world: StatefulWorld | DaemonWorld, what: str, number: int, images: str) -> None:
    """One event; `ready` and `end` befall one of the pods."""
    names = sorted(world.pods)
    match what:
        case "step":
            world.step()
        case "look":
            world.look()
        case "roll":
            world.set_image(f"{images}:{number % 3}")
        case "ready" if names:
            world.ready(names[number % len(names)])
        case "end" if names:
            world.end(names[number % len(names)])


def finish(world: StatefulWorld | DaemonWorld) -> None:
    """Everything goes well from here on."""
    for _ in range(60):
        for name in list(world.pods):
            world.end(name)
            world.ready(name)
        world.look()
        if world.step() == "nothing":
            return
    raise AssertionError("it does not come to rest")


def ordinal(pod: Pod) -> int:
    return int(pod.name.rpartition("-")[2])


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 6), st.sampled_from(["OrderedReady", "Parallel"]), _STEPS)
def test_a_stateful_update_keeps_its_bounds_and_its_partition(
    replicas: int, unavailable: int, partition: int, policy: str, steps: list[tuple[str, int]]
) -> None:
    strategy = rolling(maxUnavailable=unavailable, partition=partition)
    world = StatefulWorld(replicas, podManagementPolicy=policy, updateStrategy=strategy)
    world.run()
    world.late = True
    world.look()
    kept = {pod.name: pod.metadata.uid for pod in world.available() if ordinal(pod) < partition}
    world.set_image("db:new")
    for what, number in steps:
        play(world, what, number, "db")
        assert len(world.available()) >= replicas - unavailable
        assert len(world.pods) <= replicas
        assert kept.items() <= {pod.name: pod.metadata.uid for pod in world.available()}.items()
    finish(world)
    assert len(world.available()) == replicas


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), _STEPS)
def test_an_ordered_start_never_passes_over_a_pod_that_is_not_ready(
    replicas: int, steps: list[tuple[str, int]]
) -> None:
    world = StatefulWorld(replicas)
    world.late = True
    for what, number in steps:
        before = {ordinal(pod) for pod in world.available()}
        known = set(world.pods)
        if what != "roll":
            play(world, what, number, "db")
        for name in set(world.pods) - known:
            assert set(range(int(name.rpartition("-")[2]))) <= before
    finish(world)
    assert len(world.available()) == replicas


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3), _STEPS)
def test_a_daemon_update_keeps_its_bounds(unavailable: int, steps: list[tuple[str, int]]) -> None:
    world = DaemonWorld("a", "b", "c", updateStrategy=rolling(maxUnavailable=unavailable, maxSurge=0))
    world.run()
    world.late = True
    world.look()
    world.set_image("agent:new")
    for what, number in steps:
        play(world, what, number, "agent")
        assert len(world.available()) >= 3 - unavailable
        living = [p for p in world.pods.values() if "deletionTimestamp" not in p["metadata"]]
        assert len(living) <= 3
    finish(world)
    assert len(world.available()) == 3


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3), _STEPS)
def test_a_daemon_surge_leaves_no_node_without_a_ready_pod(surge: int, steps: list[tuple[str, int]]) -> None:
    world = DaemonWorld("a", "b", "c", updateStrategy=rolling(maxUnavailable=0, maxSurge=surge))
    world.run()
    world.late = True
    world.look()
    world.set_image("agent:new")
    for what, number in steps:
        play(world, what, number, "agent")
        served = {pod.name.split("-")[1] for pod in world.available()}
        assert served == {"a", "b", "c"}
        living = [p for p in world.pods.values() if "deletionTimestamp" not in p["metadata"]]
        assert len(living) <= 3 + surge
    finish(world)
    assert len(world.available()) == 3
