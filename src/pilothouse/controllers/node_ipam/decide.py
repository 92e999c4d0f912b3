"""Which part of the cluster's pod range a node gets. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from pilothouse.kinds.core.node import Node


class RangeExhausted(Exception):
    """Every part of the cluster's pod range is taken."""


def ranges_of(nodes: Iterable[Node]) -> set[str]:
    """The ranges nodes hold."""
    return {cidr for node in nodes for cidr in (*node.spec.pod_cidrs, node.spec.pod_cidr) if cidr}


def allocate(cluster_range: str, prefix: int, taken: Iterable[str]) -> str:
    """The first free `/prefix` of the cluster's range. Raises RangeExhausted.

    A taken range blocks whatever it overlaps, so nodes that were given other sizes before stay undisturbed.
    """
    whole = ipaddress.IPv4Network(cluster_range)
    used = [net for text in taken if (net := ipaddress.ip_network(text, strict=False)).version == 4]
    exact = {net for net in used if net.prefixlen == prefix}
    others = [net for net in used if net.prefixlen != prefix]
    for candidate in whole.subnets(new_prefix=max(prefix, whole.prefixlen)):
        if candidate not in exact and not any(candidate.overlaps(net) for net in others):
            return str(candidate)
    raise RangeExhausted(
        f"no /{prefix} is free in the pod range {cluster_range}: delete nodes that are gone, or use a larger range"
    )
