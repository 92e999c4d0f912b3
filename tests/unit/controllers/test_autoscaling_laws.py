"""An autoscaler comes to rest: under a load that stays the same its size changes in one direction, then not at all."""

from __future__ import annotations

import itertools

from autoscaling_world import World, cpu
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.machinery.objects import Obj

_POLICY = st.builds(
    lambda kind, value, period: {"type": kind, "value": value, "periodSeconds": period},
    st.sampled_from(["Pods", "Percent"]),
    st.integers(1, 200),
    st.integers(1, 300),
)
_RULES = st.fixed_dictionaries(
    {},
    optional={
        "stabilizationWindowSeconds": st.integers(0, 300),
        "selectPolicy": st.sampled_from(["Max", "Min"]),
        "policies": st.lists(_POLICY, min_size=1, max_size=2),
        "tolerance": st.sampled_from(["0", "50m", "300m"]),
    },
)
_BEHAVIOR = st.one_of(st.none(), st.fixed_dictionaries({}, optional={"scaleUp": _RULES, "scaleDown": _RULES}))


def direction(sizes: list[int]) -> set[int]:
    """Of a row of sizes: whether it ever rises (1) or falls (-1)."""
    return {(after > before) - (after < before) for before, after in itertools.pairwise(sizes)} - {0}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 30_000), st.integers(1, 150), _BEHAVIOR)
def test_a_constant_load_shared_by_all_never_makes_it_oscillate(
    replicas: int, load: int, target: int, behavior: Obj | None
) -> None:
    spec: Obj = {
        "metrics": [cpu(target)],
        "maxReplicas": 40,
        **({"behavior": behavior} if behavior is not None else {}),
    }
    world = World(replicas, lambda _: 0, **spec)
    world.share(load)
    world.run(15 * 60)
    assert len(direction(world.sizes)) <= 1
    assert 1 <= world.replicas <= 40


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(0, 3000), st.integers(1, 150), st.integers(1, 10), st.integers(10, 40))
def test_a_constant_average_moves_it_one_way_and_within_bounds(
    replicas: int, load: int, target: int, least: int, most: int
) -> None:
    world = World(replicas, lambda _: load, metrics=[cpu(target)], minReplicas=least, maxReplicas=most)
    world.step()
    world.run(15 * 60)
    inside = world.sizes[1:]
    assert all(least <= size <= most for size in inside)
    assert len(direction(inside)) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30), _BEHAVIOR)
def test_any_load_keeps_it_within_bounds(loads: list[int], behavior: Obj | None) -> None:
    spec: Obj = {"metrics": [cpu(50)], "minReplicas": 2, "maxReplicas": 12}
    if behavior is not None:
        spec["behavior"] = behavior
    world = World(5, lambda _: 0, **spec)
    for load in loads:
        world.share(load)
        world.step()
        assert 2 <= world.replicas <= 12
