"""Which part of the cluster's pod range a node gets. No I/O."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable

from pilothouse.kinds.core.node import Node


class RangeExhausted(Exception):
    """Every part of the cluster's pod range is taken."""


NODE_PREFIXES = {4: 24, 6: 64}
"""The size of a node's part, by the version of IP. Source: `--node-cidr-mask-size-ipv4` and `-ipv6`."""


def ranges_of(node: Node) -> set[str]:
    """The ranges a node holds."""
    return {cidr for cidr in (*node.spec.pod_cidrs, node.spec.pod_cidr) if cidr}


class Ranges:
    """The parts of `cluster_range`, `/prefix` each, and which of them are taken; kept up by change.

    A taken range blocks whatever it overlaps, so nodes that were given other sizes before stay undisturbed. A range may
    be taken by several and is free once all have given it up. Raises ValueError for a range that is none.
    """

    def __init__(self, cluster_range: str, prefix: int) -> None:
        whole = ipaddress.ip_network(cluster_range)
        self._text = cluster_range
        self._prefix = max(prefix, whole.prefixlen)
        self._first = int(whole.network_address)
        self._version = whole.version
        self._bits = whole.max_prefixlen - self._prefix
        self._count = 1 << (self._prefix - whole.prefixlen)
        self._taken: Counter[int] = Counter()
        """How often each part is taken, or blocked by a range of another size, by its number."""
        self._lowest = 0
        """No part before this one is free."""

    def take(self, ranges: Iterable[str]) -> None:
        for text in ranges:
            self._taken.update(self._parts(text))

    def give_up(self, ranges: Iterable[str]) -> None:
        for text in ranges:
            for part in self._parts(text):
                self._taken[part] -= 1
                if self._taken[part] <= 0:
                    del self._taken[part]
                    self._lowest = min(self._lowest, part)

    def free(self) -> str:
        """The first part that is free. Raises RangeExhausted."""
        while self._lowest in self._taken:
            self._lowest += 1
        if self._lowest >= self._count:
            raise RangeExhausted(
                f"no /{self._prefix} is free in the pod range {self._text}: delete nodes that are gone, or use a larger"
                " range"
            )
        number = self._first + (self._lowest << self._bits)
        address = ipaddress.IPv4Address(number) if self._version == 4 else ipaddress.IPv6Address(number)
        return f"{address}/{self._prefix}"

    def _parts(self, text: str) -> range:
        """The numbers of the parts that a range overlaps."""
        net = ipaddress.ip_network(text, strict=False)
        if net.version != self._version:
            return range(0)
        first, last = (int(address) - self._first >> self._bits for address in (net[0], net[-1]))
        return range(max(first, 0), min(last + 1, self._count))
