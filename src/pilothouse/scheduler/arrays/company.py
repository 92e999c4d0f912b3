"""What the pods that are placed mean for pods of one sort: affinity both ways, and topology spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from pilothouse.kinds.core.pod import TopologySpreadConstraint
from pilothouse.scheduler.arrays.columns import Columns, Floats, Ints, Mask, Topology
from pilothouse.scheduler.arrays.counts import Counts
from pilothouse.scheduler.arrays.template import Template
from pilothouse.scheduler.inter_pod import AFFINITY, ANTI_AFFINITY, REPELLED
from pilothouse.scheduler.pod_info import PodInfo, Term, own_selector
from pilothouse.scheduler.snapshot import NodeInfo, Snapshot
from pilothouse.scheduler.spread import NO_LABEL, SKEWED

Labels = Mapping[str, Mapping[str, str]]


class _Counted(NamedTuple):
    term: Term
    topology: Topology
    counts: Counts


class _Constraint(NamedTuple):
    constraint: TopologySpreadConstraint
    topology: Topology
    counts: Counts
    own: int


def is_needed(pod: PodInfo, snapshot: Snapshot) -> bool:
    """False for a pod that no rule about other pods concerns: the usual case, which costs nothing."""
    terms = pod.affinity or pod.anti_affinity or pod.preferred or pod.pod.spec.topology_spread_constraints
    return bool(terms or snapshot.repelling or snapshot.preferring)


class Company:
    """Counts for pods with the labels, namespace and terms of `pod`."""

    def __init__(self, pod: PodInfo, columns: Columns, snapshot: Snapshot) -> None:
        self._pod = pod
        self._columns = columns
        self._namespaces = snapshot.namespaces
        placed = list(snapshot.placed()) if self._has_rules(pod) else []
        self._near = [self._counted(term, placed) for term in pod.affinity]
        self._away = [self._counted(term, placed) for term in pod.anti_affinity]
        self._liked = [self._counted(term, placed) for term in pod.preferred]
        constraints = [self._constraint(c, placed) for c in pod.pod.spec.topology_spread_constraints]
        self._hard = [c for c in constraints if c.constraint.when_unsatisfiable == "DoNotSchedule"]
        self._soft = [c for c in constraints if c.constraint.when_unsatisfiable == "ScheduleAnyway"]
        self._all = [entry.counts for entry in (*self._near, *self._away, *self._liked)]
        self._all += [entry.counts for entry in constraints]
        self._fits_itself = all(term.matches(pod, self._namespaces) for term in pod.affinity)
        self._repelled: dict[str, Ints] = {}
        """For each topology key, how many terms of the pods on a node want the pod elsewhere."""
        self._wished: dict[str, Ints] = {}
        for other in (snapshot.repelling | snapshot.preferring).values():
            info = snapshot.node_of(other.key)
            row = columns.row.get(info.name) if info is not None else None
            if row is not None:
                self._add_terms(row, other, 1)

    @staticmethod
    def _has_rules(pod: PodInfo) -> bool:
        return bool(pod.affinity or pod.anti_affinity or pod.preferred or pod.pod.spec.topology_spread_constraints)

    def _counted(self, term: Term, placed: Iterable[tuple[NodeInfo, PodInfo]]) -> _Counted:
        counts = Counts(self._columns, lambda other: int(term.matches(other, self._namespaces)), placed)
        return _Counted(term, self._columns.topology(term.topology_key), counts)

    def _constraint(
        self, constraint: TopologySpreadConstraint, placed: Iterable[tuple[NodeInfo, PodInfo]]
    ) -> _Constraint:
        pod = self._pod.pod
        selector = own_selector(pod, constraint.label_selector, constraint.match_label_keys)

        def weigh(other: PodInfo) -> int:
            same = other.pod.metadata.namespace == pod.metadata.namespace
            return int(same and selector.matches(other.pod.metadata.labels))

        counts = Counts(self._columns, weigh, placed, living=True)
        topology = self._columns.topology(constraint.topology_key)
        return _Constraint(constraint, topology, counts, int(selector.matches(pod.metadata.labels)))

    # In step with pods that come and go

    def add(self, row: int, other: PodInfo, sign: int) -> None:
        """A pod came to a node (sign 1) or went (-1)."""
        for counts in self._all:
            counts.add(row, other, sign)
        if other.anti_affinity or other.preferred:
            self._add_terms(row, other, sign)

    def _add_terms(self, row: int, other: PodInfo, sign: int) -> None:
        for term in other.anti_affinity:
            if term.matches(self._pod, self._namespaces):
                self._at(self._repelled, term)[row] += sign
        for term in other.preferred:
            if term.matches(self._pod, self._namespaces):
                self._at(self._wished, term)[row] += sign * term.weight

    def _at(self, table: dict[str, Ints], term: Term) -> Ints:
        found = table.get(term.topology_key)
        if found is None:
            found = table[term.topology_key] = np.zeros(self._columns.size, dtype=np.int64)
        return found

    # Filters

    def spread_objections(self, template: Template) -> Iterator[tuple[str, Mask]]:
        """Reasons of the hard spread constraints, each with the nodes it holds for; a node's first one counts."""
        for constraint, sums, domains in self._sums(self._hard, template):
            topology, wanted = constraint.topology, constraint.constraint
            yield NO_LABEL, topology.codes < 0
            least = int(sums[domains].min()) if domains.any() else 0
            if wanted.min_domains is not None and int(domains.sum()) < wanted.min_domains:
                least = 0
            yield SKEWED, topology.spread(sums) + constraint.own - least > wanted.max_skew

    def affinity_objections(self) -> Iterator[tuple[str, Mask]]:
        """Reasons of affinity and anti-affinity, as `spread_objections`."""
        sums = [counted.topology.sums(counted.counts.of) for counted in self._near]
        first = self._fits_itself and not any(found.any() for found in sums)
        for counted, found in zip(self._near, sums):
            lonely = np.zeros(self._columns.size, dtype=np.bool_) if first else counted.topology.spread(found) == 0
            yield AFFINITY, (counted.topology.codes < 0) | lonely
        for counted in self._away:
            yield ANTI_AFFINITY, counted.topology.spread(counted.topology.sums(counted.counts.of)) > 0
        for key, counts in self._repelled.items():
            if counts.any():
                topology = self._columns.topology(key)
                yield REPELLED, topology.spread(topology.sums(counts)) > 0

    # Scores, raw

    def wishes(self) -> Floats | None:
        """Weights of preferred terms, the pod's own and those of placed pods towards it; None when there are none."""
        tables: list[tuple[Topology, Ints]] = [
            (counted.topology, counted.counts.of * counted.term.weight) for counted in self._liked
        ]
        tables += [(self._columns.topology(key), counts) for key, counts in self._wished.items()]
        found = [topology.spread(topology.sums(counts)) for topology, counts in tables if counts.any()]
        return np.sum(found, axis=0).astype(np.float64) if found else None

    def crowds(self, template: Template) -> Floats | None:
        """How few matching pods there are in the domains of the soft spread constraints; None without constraints."""
        total: Ints | None = None
        for constraint, sums, domains in self._sums(self._soft, template):
            fullest = int(sums[domains].max()) if domains.any() else 0
            crowd = constraint.topology.spread(sums, without=fullest + 1)
            total = crowd if total is None else total + crowd
        return None if total is None else -total.astype(np.float64)

    def _sums(self, constraints: list[_Constraint], template: Template) -> Iterator[tuple[_Constraint, Ints, Mask]]:
        """Each constraint with its domains' sums, and which domains count: those of nodes that count for it."""
        labelled: Mask = np.ones(self._columns.size, dtype=np.bool_)
        for constraint in constraints:
            labelled &= constraint.topology.codes >= 0
        for constraint in constraints:
            rows = labelled
            if (constraint.constraint.node_affinity_policy or "Honor") == "Honor":
                rows = rows & template.affine
            if (constraint.constraint.node_taints_policy or "Ignore") != "Ignore":
                rows = rows & template.tolerated
            domains: Mask = np.zeros(constraint.topology.domains, dtype=np.bool_)
            domains[constraint.topology.codes[rows]] = True
            yield constraint, constraint.topology.sums(constraint.counts.of, rows), domains
