"""Filters and scores of a pod over all nodes at once. See the package."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar, overload

import numpy as np

from pilothouse.kinds.core.node import ZONE
from pilothouse.scheduler import scores, volume_limits, volumes
from pilothouse.scheduler.arrays.columns import Columns, Floats, Ints, Mask, Rows
from pilothouse.scheduler.arrays.company import Company, is_needed
from pilothouse.scheduler.arrays.template import FINE, NAMES, Template, shape
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot
from pilothouse.scheduler.spread import spreads_siblings

_KEPT = 64
"""Shapes of pods, and sorts of company, that are kept; each costs some 60 bytes a node."""
_K = TypeVar("_K")
_T = TypeVar("_T")


class Verdict(NamedTuple):
    """The nodes a pod may go to, and on how many of the others each reason holds."""

    pod: PodInfo
    template: Template
    company: Company | None
    rows: Mask
    reasons: Counter[str]
    objecting: frozenset[str]


class _Names(Sequence[str]):
    """Names of nodes by row, looked up only when asked for: of thousands that are equal, one is."""

    def __init__(self, columns: Columns, rows: Rows) -> None:
        self._columns, self._rows = columns, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return _Names(self._columns, self._rows[at])
        name: str = self._columns.infos[self._rows[at]].name
        return name


class Arrays:
    """Follows a snapshot (see `snapshot.Follower`) and answers for it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._columns: Columns | None = None
        self._templates: OrderedDict[bytes, Template] = OrderedDict()
        self._companies: OrderedDict[object, Company] = OrderedDict()
        self._siblings: OrderedDict[str, Ints] = OrderedDict()
        """For an owner, how many of its pods are on each node."""

    # What the snapshot tells

    def pod_changed(self, node: str, pod: PodInfo, sign: int) -> None:
        if self._columns is not None and (row := self._columns.row.get(node)) is not None:
            self._columns.changed(row)
            for company in self._companies.values():
                company.add(row, pod, sign)
            siblings = self._siblings.get(pod.owner)
            if siblings is not None and pod.pod.metadata.deletion_timestamp is None:
                siblings[row] += sign

    def node_changed(self, node: str) -> None:
        if self._columns is not None:
            row = self._columns.row[node]
            self._columns.relabelled(row)
            for template in self._templates.values():
                template.look_again(row)

    def nodes_changed(self) -> None:
        self._columns = None
        self._templates.clear()
        self._companies.clear()
        self._siblings.clear()

    def namespaces_changed(self) -> None:
        self._companies.clear()

    # Deciding

    def examine(self, pod: PodInfo, claims: volumes.Claims) -> Verdict:
        """Where the pod may go, and why not elsewhere."""
        columns = self._current()
        template = self._template(pod, columns)
        company = self._company(pod, columns)
        reasons: Counter[str] = Counter()
        objecting: set[str] = set()
        rows = template.objecting == FINE
        if not rows.any():
            _say_why(template, reasons, objecting)
            return Verdict(pod, template, company, rows, reasons, frozenset(objecting))
        if claims.bound or claims.waiting:
            for row in np.flatnonzero(rows):
                if found := volumes.objections(claims, columns.infos[row], self._snapshot.storage):
                    rows[row] = False
                    reasons.update(found)
                    objecting.add("VolumeBinding")
                elif volume_limits.exceeds(pod, columns.infos[row], self._snapshot.storage):
                    rows[row] = False
                    reasons[volume_limits.EXCEEDED] += 1
                    objecting.add("NodeVolumeLimits")
        if company is not None:
            _rule_out(rows, "PodTopologySpread", company.spread_objections(template), reasons, objecting)
            _rule_out(rows, "InterPodAffinity", company.affinity_objections(), reasons, objecting)
        if not rows.any():
            _say_why(template, reasons, objecting)
        return Verdict(pod, template, company, rows, reasons, frozenset(objecting))

    def best(self, verdict: Verdict) -> Sequence[str]:
        """The names of the nodes with the highest score, in order."""
        columns = self._current()
        template, rows = verdict.template, verdict.rows
        total = template.base.copy()
        _add(total, 2, template.preference, rows)
        _add(total, 3, template.soft_taints, rows)
        locality = _image_locality(template, rows)
        if locality is not None:
            total += locality
        if verdict.company is not None:
            _add(total, 2, verdict.company.wishes(), rows)
            _add(total, 2, verdict.company.crowds(template), rows)
        if spreads_siblings(verdict.pod):
            _add(total, 2, self._apart(verdict.pod, columns), rows)
        total[~rows] = -math.inf
        return _Names(columns, np.flatnonzero(total.max() - total < scores.EQUAL))

    def _apart(self, pod: PodInfo, columns: Columns) -> Floats | None:
        """As `sibling_preferences`."""
        counts = self._snapshot.siblings(pod.owner)
        if not counts:
            return None
        on_node = self._siblings.get(pod.owner)
        if on_node is None:
            on_node = np.zeros(columns.size, dtype=np.int64)
            for name, count in counts.items():
                if (row := columns.row.get(name)) is not None:
                    on_node[row] = count
        _keep(self._siblings, pod.owner, on_node)
        zones = columns.topology(ZONE)
        sums = zones.sums(on_node)
        in_zone = zones.spread(sums, without=int(sums.max(initial=0)) + 1)
        return -(on_node + in_zone).astype(np.float64)

    def _current(self) -> Columns:
        if self._columns is None:
            self._columns = Columns(self._snapshot.nodes())
        return self._columns

    def _template(self, pod: PodInfo, columns: Columns) -> Template:
        key = shape(pod)
        found = self._templates.get(key)
        if found is None or not found.catch_up():
            found = Template(pod, columns)
        _keep(self._templates, key, found)
        return found

    def _company(self, pod: PodInfo, columns: Columns) -> Company | None:
        if not is_needed(pod, self._snapshot):
            return None
        spec = pod.pod.spec
        terms = (pod.affinity, pod.anti_affinity, pod.preferred, tuple(map(repr, spec.topology_spread_constraints)))
        key = (pod.identity, terms)
        found = self._companies.get(key)
        if found is None:
            found = Company(pod, columns, self._snapshot)
        _keep(self._companies, key, found)
        return found


def _keep(kept: OrderedDict[_K, _T], key: _K, value: _T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _KEPT:
        kept.popitem(last=False)


def _say_why(template: Template, reasons: Counter[str], objecting: set[str]) -> None:
    """Adds the reasons of filters that look at one node."""
    reasons.update(template.why)
    objecting.update(NAMES[number] for number in np.unique(template.objecting) if number != FINE)


def _rule_out(
    rows: Mask, name: str, objections: Iterable[tuple[str, Mask]], reasons: Counter[str], objecting: set[str]
) -> None:
    for reason, holds in objections:
        out = rows & holds
        count = int(np.count_nonzero(out))
        if count:
            reasons[reason] += count
            objecting.add(name)
            rows &= ~holds


def _add(total: Floats, weight: int, raw: Floats | None, rows: Mask) -> None:
    """Adds a raw score, stretched over 0 to 100 on the nodes that come into question; nothing when all are the same."""
    if raw is None:
        return
    chosen = raw[rows]
    least, most = float(chosen.min()), float(chosen.max())
    if not math.isclose(least, most):
        total += weight * (scores.BEST * (raw - least) / (most - least))


def _image_locality(template: Template, rows: Mask) -> Floats | None:
    holders = [int(np.count_nonzero(sizes[rows])) for sizes in template.images]
    if not any(holders):
        return None
    nodes = int(np.count_nonzero(rows))
    size = np.zeros(len(rows))
    for sizes, count in zip(template.images, holders):
        size = size + sizes * count / nodes
    most = scores.MOST_IMAGE * len(template.images)
    return scores.BEST * (np.clip(size, scores.LEAST_IMAGE, most) - scores.LEAST_IMAGE) / (most - scores.LEAST_IMAGE)
