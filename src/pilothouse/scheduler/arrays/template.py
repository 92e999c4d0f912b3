"""What pods of one shape make of every node by itself, kept until the node changes."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from pilothouse.scheduler import filters, scores
from pilothouse.scheduler.arrays.columns import Columns, Floats, Ints, Mask
from pilothouse.scheduler.pod_info import PodInfo

NAMES = tuple(name for name, _ in filters.FILTERS)
_STATIC = tuple((number, check) for number, (_, check) in enumerate(filters.FILTERS) if check in filters.OF_THE_NODE)
_PORTS, _RESOURCES = NAMES.index("NodePorts"), NAMES.index("NodeResourcesFit")
FINE = -1


def shape(pod: PodInfo) -> bytes:
    """Equal for pods that a Template does not tell apart."""
    spec = pod.pod.spec
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    parts = (
        pod.profile.value,
        sorted(pod.requests.items()),
        sorted(pod.scored.items()),
        sorted(pod.ports),
        sorted(spec.node_selector.items()),
        affinity,
        spec.tolerations,
        scores.images_of(pod),
    )
    return msgspec.msgpack.encode(parts)


class Template:
    """`objecting` is for each node the number of the first filter that objects (an index of NAMES), FINE for none.

    `base` is the weighted sum of the scores that rest on one node alone. Filters and scores that compare nodes, or
    look at pods elsewhere, are not in it.
    """

    def __init__(self, pod: PodInfo, columns: Columns) -> None:
        self.pod = pod
        self._columns = columns
        size = columns.size
        self._static: Ints = np.full(size, FINE, dtype=np.int64)
        self.objecting: Ints = np.full(size, FINE, dtype=np.int64)
        self.base: Floats = np.zeros(size)
        self.affine: Mask = np.zeros(size, dtype=np.bool_)
        """Where the pod's node selector and required node affinity let it go."""
        self.tolerated: Mask = np.zeros(size, dtype=np.bool_)
        self.preference: Floats = np.zeros(size)
        self.soft_taints: Floats = np.zeros(size)
        self._names = scores.images_of(pod)
        self.images: list[Ints] = [np.zeros(size, dtype=np.int64) for _ in self._names]
        self.why: Counter[str] = Counter()
        """On how many nodes each reason holds: a pod that fits nowhere is asked about again and again."""
        self._reasons: list[tuple[str, ...]] = [()] * size
        self._seen = columns.now
        for row in range(size):
            self.look_again(row)

    def look_again(self, row: int) -> None:
        """The node itself is another: everything about it is worked out anew."""
        info = self._columns.infos[row]
        self._static[row] = next((number for number, check in _STATIC if check(self.pod, info)), FINE)
        self.affine[row] = not filters.node_affinity(self.pod, info)
        self.tolerated[row] = not filters.taints(self.pod, info)
        self.preference[row] = scores.preference(self.pod, info)
        self.soft_taints[row] = -float(scores.intolerable(self.pod, info))
        for sizes, name in zip(self.images, self._names):
            sizes[row] = scores.present(name, info)
        self._pods_changed(row)

    def catch_up(self) -> bool:
        """Looks at the nodes whose pods changed since the last time; False when it is not known any more which."""
        changed = self._columns.since(self._seen)
        if changed is None:
            return False
        self._seen = self._columns.now
        for row in changed:
            self._pods_changed(row)
        return True

    def _pods_changed(self, row: int) -> None:
        info = self._columns.infos[row]
        first = int(self._static[row])
        if first == FINE:
            if self.pod.ports and filters.ports(self.pod, info):
                first = _PORTS
            elif not filters.fits(self.pod, info):
                first = _RESOURCES
        self.objecting[row] = first
        self._told(row, tuple(filters.FILTERS[first][1](self.pod, info)) if first != FINE else ())
        self.base[row] = scores.fit_of(self.pod, info) + scores.balance_of(self.pod, info)

    def _told(self, row: int, reasons: tuple[str, ...]) -> None:
        before = self._reasons[row]
        if before != reasons:
            self._reasons[row] = reasons
            self.why.subtract(before)
            self.why.update(reasons)
            for reason in before:
                if not self.why[reason]:
                    del self.why[reason]
