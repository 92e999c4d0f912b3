"""How fast pods may be evicted from the lost nodes of each zone. No I/O.

Source: upstream's node lifecycle controller (`--node-eviction-rate`, `--secondary-node-eviction-rate`,
`--unhealthy-zone-threshold`, `--large-cluster-size-threshold` at their defaults).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pilothouse.controllers.node_lifecycle.decide import is_ready
from pilothouse.kinds.core.node import ZONE, Node

_REGION = "topology.kubernetes.io/region"
_LARGE_ZONE = 50
_MASS_FAILURE = 0.55
_PER_SECOND = 0.1
_SLOWLY_PER_SECOND = 0.01

Zone = tuple[str, str]
"""Region and zone; empty for a node that names none."""


def zone_of(node: Node) -> Zone:
    labels = node.metadata.labels
    return labels.get(_REGION, ""), labels.get(ZONE, "")


@dataclass(slots=True)
class _Nodes:
    ready: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)


class Zones:
    """Each zone's nodes, ready or not, kept up by change."""

    def __init__(self) -> None:
        self._zones: dict[Zone, _Nodes] = {}
        self._where: dict[str, Zone] = {}

    def put(self, name: str, node: Node | None) -> None:
        """The node as it is now; None when it is gone."""
        before = self._where.pop(name, None)
        if before is not None:
            zone = self._zones[before]
            zone.ready.discard(name)
            zone.other.discard(name)
            if not zone.ready and not zone.other:
                del self._zones[before]
        if node is not None:
            zone = self._zones.setdefault(zone_of(node), _Nodes())
            (zone.ready if is_ready(node) else zone.other).add(name)
            self._where[name] = zone_of(node)

    def rate(self, zone: Zone) -> float:
        """Nodes a second of that zone whose pods may be evicted.

        When most of a zone fails at once the fault is likely the network's or ours, and evicting would only make it
        worse: then none, or from a large zone slowly. A zone that failed as a whole is given up at the usual rate while
        another one answers; when no zone does, nothing is evicted.
        """
        if not any(nodes.ready for nodes in self._zones.values()):
            return 0.0
        nodes = self._zones.get(zone, _Nodes())
        count = len(nodes.ready) + len(nodes.other)
        if nodes.ready and len(nodes.other) > 2 and len(nodes.other) / count >= _MASS_FAILURE:
            return _SLOWLY_PER_SECOND if count > _LARGE_ZONE else 0.0
        return _PER_SECOND
