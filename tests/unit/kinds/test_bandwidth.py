"""The annotations that bound a pod's traffic."""

from __future__ import annotations

import pytest

from pilothouse.kinds.core.bandwidth import EGRESS, INGRESS, UNBOUNDED, Bandwidth, bandwidth
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.refuse import Abilities, refusal


def test_rates_are_bits_a_second() -> None:
    assert bandwidth({INGRESS: "10M", EGRESS: "1k", "other": "x"}) == Bandwidth(10_000_000, 1000)
    assert bandwidth({}) == UNBOUNDED


@pytest.mark.parametrize("text", ["", "fast", "-1M", "999", "2P"])
def test_a_rate_that_makes_no_sense_refuses_the_pod(text: str) -> None:
    pod = from_tree(Pod, {"metadata": {"annotations": {EGRESS: text}}, "spec": {"containers": [{"name": "c"}]}})
    refused = refusal(pod, Abilities())
    assert refused is not None
    assert (refused.reason, EGRESS in refused.message) == ("InvalidBandwidth", True)
