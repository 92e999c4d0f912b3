"""Bounds on a pod's traffic through real nftables: what comes above a burst at once is dropped."""

from __future__ import annotations

import socket

import pytest
from network_host import PODS, PREFIX, Cluster, Tree, eventually, within

from pilothouse.network.network import Network

pytestmark = pytest.mark.system

SLOW = {"kubernetes.io/ingress-bandwidth": "1k"}
PACKET, PACKETS = 1000, 1000
BURST = 1 << 18


def delivered(source: str, target: str) -> int:
    """How many bytes of a million arrive, sent as fast as they are taken in."""

    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((PODS[target], 7000))
        sock.settimeout(0.2)
        return sock

    count = 0
    with (
        within(PREFIX + target, bind) as sink,
        within(PREFIX + source, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender,
    ):
        for _ in range(PACKETS // 10):
            for _ in range(10):
                sender.sendto(bytes(PACKET), (PODS[target], 7000))
            try:
                for _ in range(10):
                    count += len(sink.recv(PACKET))
            except TimeoutError:
                return count
    return count


async def test_what_a_pod_may_receive_and_send_is_bounded(network: Network, cluster: Cluster) -> None:
    pods: dict[str, Tree] = {name: cluster.pod(name, PODS[name], {"app": name}) for name in "ab"}

    def bound(name: str, annotations: dict[str, str]) -> None:
        pods[name]["metadata"]["annotations"] = annotations
        cluster.put("pods", pods[name])

    def held() -> bool:
        # Headers count too; what was used of the burst before comes back at 125 bytes a second only.
        return 0 < delivered("a", "b") < BURST

    bound("b", SLOW)
    await eventually(held, True)
    bound("b", {})
    await eventually(lambda: delivered("a", "b"), PACKET * PACKETS)
    bound("a", {"kubernetes.io/egress-bandwidth": "1k"})
    await eventually(held, True)
    await eventually(lambda: delivered("b", "a"), PACKET * PACKETS)
