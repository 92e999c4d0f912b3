"""Statistics of a pod that is busy, from the control groups of this host."""

from __future__ import annotations

import pytest
from streams_bench import Bench

pytestmark = pytest.mark.system


async def test_a_busy_pod_is_seen(bench: Bench) -> None:
    state = await bench.pod("p", ["/usr/bin/sh", "-c", "while true; do :; done"])
    async with bench.session.get(f"{bench.url}/stats/summary") as reply:
        tree = await reply.json()
    (pod,) = tree["pods"]
    assert pod["podRef"] == {"name": "p", "namespace": "default", "uid": state.uid}
    (container,) = pod["containers"]
    assert container["name"] == "main"
    assert 20_000_000 < container["cpu"]["usageNanoCores"] < 1_200_000_000
    assert 0 < container["memory"]["workingSetBytes"] <= container["memory"]["usageBytes"] < 64 << 20
    assert pod["network"]["name"] == "eth0"
    assert tree["node"]["nodeName"] == "s1"
    assert tree["node"]["cpu"]["usageNanoCores"] > container["cpu"]["usageNanoCores"] // 2
    for path in ("resource", "cadvisor"):
        async with bench.session.get(f"{bench.url}/metrics/{path}") as reply:
            text = await reply.text()
        assert 'container_cpu_usage_seconds_total{container="main"' in text
