from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.node.settings import InvalidSettings, Settings
from pilothouse.node.swap import NOTHING_SHARED, HostSwap, swap_bytes

HOST = HostSwap(swap=4 << 30, memory=16 << 30)


def share(requests: dict[str, str], limits: dict[str, str], host: HostSwap = HOST, **spec: Any) -> int:
    container = {"name": "c", "image": "i", "resources": {"requests": requests, "limits": limits}}
    pod = msgspec.convert({"metadata": {"name": "p"}, "spec": {"containers": [container], **spec}}, Pod)
    return swap_bytes(pod, pod.spec.containers[0], host)


def test_a_burstable_container_has_the_share_of_its_request() -> None:
    assert share({"memory": "1Gi"}, {"memory": "2Gi"}) == 256 << 20
    assert share({"memory": "1Gi"}, {}) == 256 << 20


@pytest.mark.parametrize(
    ("requests", "limits", "spec"),
    [
        ({"memory": "1Gi"}, {"memory": "1Gi"}, {}),  # burstable for its CPU
        ({"memory": "1Gi", "cpu": "1"}, {"memory": "1Gi", "cpu": "1"}, {}),  # guaranteed
        ({}, {}, {}),  # best effort
        ({"cpu": "1"}, {}, {}),
        ({"memory": "1Gi"}, {"memory": "2Gi"}, {"priority": 2_000_000_000}),
    ],
)
def test_who_may_not_be_swapped_out(requests: dict[str, str], limits: dict[str, str], spec: dict[str, Any]) -> None:
    assert share(requests, limits, **spec) == 0


def test_nothing_is_swapped_unless_the_node_says_so() -> None:
    assert share({"memory": "1Gi"}, {"memory": "2Gi"}, NOTHING_SHARED) == 0
    Settings(swap_behavior="LimitedSwap").check()
    with pytest.raises(InvalidSettings, match="NoSwap and LimitedSwap"):
        Settings(swap_behavior="Unlimited").check()
