"""What a StatefulSet needs next, decided from one snapshot. Pure.

The order is upstream's: pods from the lowest ordinal up, surplus pods from the highest down, then the update from the
highest down to the partition. With OrderedReady the first pod that is not available ends the pass, in an update too: a
broken pod that stands below is not passed over, it must be deleted by hand (as upstream's documentation has it).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.controllers.pods import available_in, is_terminal
from pilothouse.controllers.revisions import HASH, newest, surplus, template_of
from pilothouse.controllers.stateful_set import identity
from pilothouse.controllers.stateful_set.plan import (
    Action,
    CreatePod,
    DeletePod,
    LabelPod,
    MakeClaim,
    OwnClaim,
    Plan,
)
from pilothouse.controllers.stateful_set.status import Counted, status_of
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

REVISION_HASH = "controller.kubernetes.io/hash"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pods` and `revisions` are the set's own; `claims` by name, those of its templates."""

    stateful_set: StatefulSet
    pods: Sequence[Pod]
    revisions: Sequence[ControllerRevision]
    claims: Mapping[str, PersistentVolumeClaim]
    now: dt.datetime


def decide(snapshot: Snapshot) -> Plan:
    """The next step. Applied again and again on fresh snapshots it ends at `nothing`."""
    stateful_set = snapshot.stateful_set
    status = stateful_set.status
    update, write = newest(
        stateful_set, stateful_set.spec.template, snapshot.revisions, status.collision_count, REVISION_HASH
    )
    templates = {revision.name: template_of(revision) for revision in snapshot.revisions}
    templates[update] = stateful_set.spec.template
    current = status.current_revision if status.current_revision in templates else update
    actions: list[Action] = []
    if stateful_set.metadata.deletion_timestamp is None:
        actions = _Pass(snapshot, templates, current, update).run()
    waits = [available_in(pod, stateful_set.spec.min_ready_seconds, snapshot.now) for pod in snapshot.pods]
    changes = status_of(stateful_set, Counted(snapshot.pods, waits, current, update))
    live = {current, update, *(pod.metadata.labels.get(HASH, "") for pod in snapshot.pods)}
    forget = surplus(snapshot.revisions, live, stateful_set.spec.revision_history_limit) if write is None else []
    pending = [wait for wait in waits if wait]
    return Plan(write, actions, changes, forget, min(pending) if pending else None)


class _Pass:
    """One walk over the set's pods. With an order, a step that is not done ends it."""

    def __init__(self, snapshot: Snapshot, templates: Mapping[str, Obj], current: str, update: str) -> None:
        self._snapshot, self._set = snapshot, snapshot.stateful_set
        self._templates, self._current, self._update = templates, current, update
        self._ordered = self._set.spec.pod_management_policy != "Parallel"
        first = identity.start(self._set)
        self._range = range(first, first + identity.size(self._set))
        self._pods: dict[int, Pod] = {}
        for pod in snapshot.pods:
            if (ordinal := identity.ordinal_of(self._set, pod)) is not None:
                self._pods[ordinal] = pod
        self._surplus = sorted((ordinal for ordinal in self._pods if ordinal not in self._range), reverse=True)
        self._actions: list[Action] = []

    def run(self) -> list[Action]:
        for ordinal in self._range:
            if not self._replica(ordinal) and self._ordered:
                return self._actions
        for ordinal in self._surplus:
            self._own_claims(ordinal, self._pods[ordinal])
        if self._scale_down():
            self._roll()
        return self._actions

    def _replica(self, ordinal: int) -> bool:
        """Makes the pod, or mends it; True if it is there and available."""
        pod = self._pods.get(ordinal)
        if pod is None:
            self._create(ordinal)
            return False
        if is_terminal(pod):
            if pod.metadata.deletion_timestamp is None:
                self._actions.append(DeletePod(pod, "it has ended", pod.status.phase))
            return False
        if not self._available(pod) and pod.status.phase == "Pending":
            self._make_claims(ordinal, pod.name)
        labels = identity.identity_labels(pod.name, ordinal)
        if not labels.items() <= pod.metadata.labels.items():
            self._actions.append(LabelPod(pod, labels))
        self._own_claims(ordinal, pod)
        return self._available(pod)

    def _create(self, ordinal: int) -> None:
        name = f"{self._set.name}-{ordinal}"
        claims = [self._snapshot.claims.get(claim) for claim in identity.claim_names(self._set, ordinal).values()]
        if any(claim is not None and identity.is_stale(claim, name) for claim in claims):
            return
        self._make_claims(ordinal, name)
        revision = self._current if ordinal - self._range.start < self._partition() else self._update
        tree = identity.pod_tree(self._set, self._templates[revision], revision, ordinal)
        self._actions.append(CreatePod(name, revision, tree))

    def _make_claims(self, ordinal: int, pod: str) -> None:
        for name, tree in identity.claim_trees(self._set, ordinal).items():
            if name not in self._snapshot.claims:
                self._actions.append(MakeClaim(name, pod, tree))

    def _own_claims(self, ordinal: int, pod: Pod) -> None:
        for name in identity.claim_names(self._set, ordinal).values():
            claim = self._snapshot.claims.get(name)
            if claim is not None and claim.metadata.deletion_timestamp is None:
                owners = identity.claim_owners(self._set, pod, claim, ordinal)
                if owners is not None:
                    self._actions.append(OwnClaim(claim, owners))

    def _scale_down(self) -> bool:
        """Deletes surplus pods, one after the other when there is an order; True once none is left."""
        unhealthy = [o for o in sorted(self._pods) if not self._available(self._pods[o])]
        for ordinal in self._surplus:
            pod = self._pods[ordinal]
            going = pod.metadata.deletion_timestamp is not None
            if self._ordered and (going or (unhealthy and unhealthy[0] != ordinal and ordinal in unhealthy)):
                return False
            if not going:
                self._actions.append(DeletePod(pod, "it is one too many"))
            if self._ordered:
                return False
        return not self._surplus

    def _roll(self) -> None:
        """Deletes pods of an older revision from the highest ordinal down, within maxUnavailable."""
        if self._set.spec.update_strategy.type != "RollingUpdate":
            return
        budget = self._max_unavailable() - sum(not self._available(self._pods.get(o)) for o in self._range)
        for ordinal in reversed(self._range[self._partition() :]):
            pod = self._pods.get(ordinal)
            if pod is None or pod.metadata.deletion_timestamp is not None:
                continue
            if pod.metadata.labels.get(HASH) == self._update or is_terminal(pod):
                continue
            # What is not available anyhow costs nothing.
            if self._available(pod):
                if budget <= 0:
                    return
                budget -= 1
            self._actions.append(DeletePod(pod, f"it is to become {self._update}"))

    def _partition(self) -> int:
        strategy = self._set.spec.update_strategy
        if strategy.type != "RollingUpdate" or strategy.rolling_update is None:
            return 0
        return strategy.rolling_update.partition or 0

    def _max_unavailable(self) -> int:
        """At least one, as absent; percentages are rounded up."""
        rolling = self._set.spec.update_strategy.rolling_update
        most = rolling.max_unavailable if rolling is not None else None
        if isinstance(most, str):
            most = math.ceil(int(most.rstrip("%") or 0) * identity.size(self._set) / 100)
        return max(1, most or 1)

    def _available(self, pod: Pod | None) -> bool:
        if pod is None or pod.metadata.deletion_timestamp is not None or pod.status.phase != "Running":
            return False
        return available_in(pod, self._set.spec.min_ready_seconds, self._snapshot.now) == 0
