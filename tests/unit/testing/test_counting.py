"""The counting behind `scripts/bench schedule`: it ends when the time is over, and says what is missing."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.core.pod import Pod
from pilothouse.testing.bench.schedule.counting import Watched
from pilothouse.testing.bench.schedule.shapes import SHAPES


class Pods:
    """Stands for informers: hands on what it is told of pods."""

    def of(self, cls: type[Any]) -> Pods:
        return self

    def subscribe(self, subscriber: Any) -> None:
        self.tell = subscriber

    def bind(self, name: str, node: str) -> None:
        pod = msgspec.convert({"metadata": {"name": name, "namespace": "d"}, "spec": {"nodeName": node}}, Pod)
        self.tell(pod.key, None, pod)


async def test_each_pod_counts_once_and_the_rest_is_told() -> None:
    pods = Pods()
    watched = Watched(cast(SharedInformers, pods), lambda pod: bool(pod.spec.node_name))

    def cause() -> None:
        pods.bind("a", "n")
        pods.bind("a", "n")
        pods.bind("b", "")

    count = await watched.reach(2, 0.01, cause)
    assert (count.reached, count.whole) == (1, False)
    assert count.note.startswith("ONLY 1 of 2")
    more = await watched.reach(2, 60.0, lambda: pods.bind("b", "n"))
    assert (more.reached, more.whole) == (1, True)


def test_of_pods_that_bear_no_other_a_node_takes_one() -> None:
    counts = {shape.app: shape.count(10_000, 1_000) for shape in SHAPES}
    assert counts == {"plain": 10_000, "near": 5_000, "anti": 1_000, "spread": 3_000}
