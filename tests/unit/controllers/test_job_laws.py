"""Laws of Jobs: whatever the pods do and whenever the controller dies, counts are exact and limits hold."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st
from job_world import World, index_of

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sync"), st.integers(0, 6)),
        st.tuples(st.just("crash"), st.integers(0, 6)),
        st.tuples(st.just("succeed"), st.integers(0, 9)),
        st.tuples(st.just("fail"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("catch up"), st.just(0)),
    ),
    max_size=60,
)


def play(world: World, steps: list[tuple[str, int]], parallelism: int) -> None:
    for what, number in steps:
        names = list(world.pods)
        if what in ("sync", "crash") and number % 2:
            world.catch_up()
        if what == "sync":
            world.sync()
        elif what == "crash":
            world.sync(number // 2)
            world.restart()
        elif what == "catch up":
            world.catch_up()
        elif names and what == "delete":
            # As `kubectl delete pod` does it; its node ends it at once.
            name = names[number % len(names)]
            world.end(name, "Failed")
            world.pods[name]["metadata"].setdefault("deletionTimestamp", "2026-01-01T12:00:00Z")
        elif names:
            world.end(names[number % len(names)], "Succeeded" if what == "succeed" else "Failed")
        world.now += dt.timedelta(seconds=700)
        assert len(world.running()) <= parallelism


def finish(world: World) -> None:
    """Everything that still runs succeeds, until the Job is over."""
    for _ in range(60):
        world.settle()
        if world.over:
            break
        for name in list(world.pods):
            world.end(name)
        world.now += dt.timedelta(seconds=700)
    world.settle()
    assert world.over


@settings(max_examples=300, deadline=None)
@given(_STEPS, st.integers(1, 5), st.integers(1, 3))
def test_counts_are_exact(steps: list[tuple[str, int]], completions: int, parallelism: int) -> None:
    world = World(completions=completions, parallelism=parallelism, backoffLimit=1000, podReplacementPolicy="Failed")
    play(world, steps, parallelism)
    finish(world)
    status = world.job.status
    assert status.succeeded == len(world.succeeded) == completions
    assert status.failed == len(world.failed)
    assert world.conditions()["Complete"] == "CompletionsReached"
    assert not any(pod["metadata"].get("finalizers") for pod in world.pods.values())


@settings(max_examples=200, deadline=None)
@given(_STEPS, st.integers(1, 5), st.integers(1, 3))
def test_every_index_is_done_once(steps: list[tuple[str, int]], completions: int, parallelism: int) -> None:
    world = World(
        completions=completions,
        parallelism=parallelism,
        completionMode="Indexed",
        backoffLimitPerIndex=1000,
        podReplacementPolicy="Failed",
    )
    play(world, steps, parallelism)
    finish(world)
    done = sorted(index_of(pod) for pod in world.pods.values() if pod["status"]["phase"] == "Succeeded")
    assert len(world.succeeded) == len(set(world.succeeded)) == completions
    assert set(done) <= {str(index) for index in range(completions)}
    assert (world.job.status.succeeded, world.job.status.failed) == (completions, len(world.failed))


@settings(max_examples=200, deadline=None)
@given(_STEPS, st.integers(0, 3), st.integers(1, 4))
def test_no_more_failures_than_the_limit_and_those_under_way(
    steps: list[tuple[str, int]], limit: int, parallelism: int
) -> None:
    world = World(completions=6, parallelism=parallelism, backoffLimit=limit, podReplacementPolicy="Failed")
    play(world, steps, parallelism)
    for _ in range(40):
        world.settle()
        for name in list(world.pods):
            world.end(name, "Failed")
        world.now += dt.timedelta(seconds=700)
    world.settle()
    status = world.job.status
    assert world.over
    assert status.failed == len(world.failed) <= limit + parallelism
    assert status.succeeded == len(world.succeeded)
