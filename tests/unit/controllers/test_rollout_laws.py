"""What holds at every step of every rollout, whatever the order of events."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_world import World

from pilothouse.controllers.deployment.annotations import bounds

_SHARE = st.one_of(st.integers(0, 5), st.sampled_from(["0%", "20%", "25%", "50%", "100%"]))
_STEPS = st.lists(
    st.tuples(st.sampled_from(["sync", "settle", "report", "ready", "roll"]), st.integers(0, 9)), max_size=80
)


def rolled_out(replicas: int, surge: int | str, unavailable: int | str) -> World:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    world = World(replicas, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    world.run()
    assert world.ready == replicas
    return world


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 12), _SHARE, _SHARE, _STEPS)
def test_a_rollout_never_leaves_its_bounds(
    replicas: int, surge: int | str, unavailable: int | str, steps: list[tuple[str, int]]
) -> None:
    world = rolled_out(replicas, surge, unavailable)
    most_surge, most_unavailable = bounds(world.deployment)
    image = 1
    world.set_image("web:next-1")
    for step, number in steps:
        names = world.names()
        name = names[number % len(names)]
        match step:
            case "sync":
                world.sync()
            case "settle":
                world.settle_set(name)
            case "report":
                world.report_set(name)
            case "ready":
                world.ready_one(name)
            case "roll":
                image += 1
                world.set_image(f"web:next-{image % 3}")
        sizes = sum(rs.spec.replicas or 0 for rs in world.sets)
        assert sizes <= replicas + most_surge
        assert world.living <= replicas + most_surge
        assert world.ready >= replicas - most_unavailable
    world.run()
    assert world.living == world.ready == replicas
    assert sum(bool(rs.spec.replicas) for rs in world.sets) == bool(replicas)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10), st.lists(st.integers(0, 10), min_size=1, max_size=4), st.integers(0, 8))
def test_scaling_in_the_middle_of_a_rollout_ends_at_the_last_size(replicas: int, sizes: list[int], passes: int) -> None:
    world = rolled_out(replicas, 1, 1)
    world.set_image("web:2")
    for size in sizes:
        for _ in range(passes):
            world.settle()
            world.sync()
        world.change(replicas=size)
    world.run()
    assert world.living == world.ready == sizes[-1]
    assert world.deployment.status.updated_replicas == sizes[-1]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 3))
def test_history_stays_within_its_limit(updates: int, limit: int) -> None:
    world = World(2, revisionHistoryLimit=limit)
    world.run()
    for number in range(updates):
        world.set_image(f"web:{number + 2}")
        world.run()
    assert len(world.sets) <= limit + 1
