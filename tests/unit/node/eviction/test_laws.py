"""Laws of eviction, whatever runs short and when."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.node.eviction.decide import History, judge
from pilothouse.node.eviction.rank import PodUse, candidates
from pilothouse.node.eviction.signals import CONDITIONS, MEMORY, NODEFS, PIDS, Observation
from pilothouse.node.settings import Settings

SETTINGS = Settings(
    eviction_hard={MEMORY: "10%", NODEFS: "10%", PIDS: "10%"},
    eviction_soft={NODEFS: "30%"},
    eviction_soft_grace_period={NODEFS: 60.0},
    eviction_minimum_reclaim={NODEFS: "5%"},
)
THRESHOLDS = SETTINGS.thresholds()
TRANSITION = 300.0

LEFT = st.fixed_dictionaries({MEMORY: st.integers(0, 100), NODEFS: st.integers(0, 100), PIDS: st.integers(0, 100)})
LOOKS = st.lists(st.tuples(st.floats(1, 400), LEFT), min_size=1, max_size=12)


@given(LOOKS)
def test_conditions_and_what_is_due(looks: list[tuple[float, dict[str, int]]]) -> None:
    now, history, last_met = 0.0, History(), dict[str, float]()
    for pause, left in looks:
        now += pause
        judgement = judge(THRESHOLDS, {name: Observation(100, n) for name, n in left.items()}, history, now, TRANSITION)
        history = judgement.history
        for name, number in left.items():
            if number < 10:
                last_met[CONDITIONS[name]] = now
                assert CONDITIONS[name] in judgement.conditions
                assert judgement.due is not None
        # What ran short a moment ago is still shown, so that nothing is scheduled here and evicted again.
        for kind, at in last_met.items():
            if now - at < TRANSITION:
                assert kind in judgement.conditions
        if left[MEMORY] < 10:
            assert judgement.due is not None
            assert judgement.due.signal == MEMORY
        if judgement.due is not None and not judgement.due.hard:
            assert now - history.since[judgement.due] >= 60.0


PODS = st.lists(
    st.builds(
        lambda uid, priority, used, asked: PodUse(
            str(uid), str(uid), priority, memory=used, requests={"memory": asked}
        ),
        st.integers(0, 10_000),
        st.sampled_from([-5, 0, 1000, 2_000_000_000]),
        st.integers(0, 1000),
        st.integers(0, 1000),
    ),
    max_size=12,
)


@given(PODS)
def test_who_keeps_within_its_request_goes_last(pods: list[PodUse]) -> None:
    ranked = candidates(MEMORY, pods, separate_images=False)
    assert not any(pod.priority >= 2_000_000_000 for pod in ranked)
    over = [pod.memory > pod.requests["memory"] for pod in ranked]
    assert over == sorted(over, reverse=True)
    for first, second in itertools.pairwise(ranked):
        if (first.memory > first.requests["memory"]) == (second.memory > second.requests["memory"]):
            assert first.priority <= second.priority
