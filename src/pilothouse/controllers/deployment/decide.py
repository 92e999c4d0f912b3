"""What a Deployment needs next, decided from one snapshot. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.controllers.deployment import annotations as notes
from pilothouse.controllers.deployment.annotations import set_size
from pilothouse.controllers.deployment.plan import Action, Annotate, Create, Plan, Remove, Scale
from pilothouse.controllers.deployment.sizes import Sizes, is_scaling, new_set_size, old_set_sizes, scaled_sizes
from pilothouse.controllers.deployment.status import Rollout, complete, status_of
from pilothouse.controllers.names import hash_of, prune
from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`sets` are the ReplicaSets the Deployment controls; `pods` theirs (read by strategy Recreate only)."""

    deployment: Deployment
    sets: Sequence[ReplicaSet]
    pods: Sequence[Pod]
    now: dt.datetime


def decide(snapshot: Snapshot) -> Plan:
    """The next step of the rollout. Applied again and again on fresh snapshots it ends at `nothing`."""
    deployment, now = snapshot.deployment, snapshot.now
    new = find_new(deployment, snapshot.sets)
    old = [rs for rs in snapshot.sets if new is None or rs.name != new.name]
    if deployment.metadata.deletion_timestamp is not None:
        status, _ = status_of(Rollout(deployment, new, old, now, progressing=False))
        return Plan(status=status)
    if deployment.spec.paused or is_scaling(deployment, snapshot.sets):
        actions = _resize(deployment, snapshot.sets, scaled_sizes(deployment, new, old), all_active=True)
        if deployment.spec.paused:
            actions += _history(deployment, old)
        status, again = status_of(Rollout(deployment, new, old, now, progressing=False))
        return Plan(actions, {}, status, again)
    if deployment.spec.strategy.type == "Recreate":
        return _recreate(snapshot, new, old)
    return _rolling(snapshot, new, old)


def find_new(deployment: Deployment, sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of the current template; the oldest one if there are several."""
    wanted = prune(deployment.spec.template)
    found = [rs for rs in sets if prune(_without_hash(rs.spec.template)) == wanted]
    return min(found, key=lambda rs: (rs.metadata.creation_timestamp or "", rs.name), default=None)


def _without_hash(template: Obj) -> Obj:
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != notes.TEMPLATE_HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def _rolling(snapshot: Snapshot, new: ReplicaSet | None, old: list[ReplicaSet]) -> Plan:
    deployment = snapshot.deployment
    if new is None:
        return _create(snapshot, old, new_set_size(deployment, None, old))
    sizes: Sizes = {}
    size = new_set_size(deployment, new, snapshot.sets)
    if size != set_size(new):
        sizes = {new.name: size}
    else:
        sizes = old_set_sizes(deployment, new, old)
    return _step(snapshot, new, old, sizes)


def _recreate(snapshot: Snapshot, new: ReplicaSet | None, old: list[ReplicaSet]) -> Plan:
    deployment = snapshot.deployment
    running = {rs.name: 0 for rs in old if set_size(rs) > 0}
    if running or _old_pods_remain(snapshot.pods, new):
        return _step(snapshot, new, old, running)
    if new is None:
        return _create(snapshot, old, notes.size(deployment))
    size = notes.size(deployment)
    return _step(snapshot, new, old, {new.name: size} if size != set_size(new) else {})


def _old_pods_remain(pods: Sequence[Pod], new: ReplicaSet | None) -> bool:
    for pod in pods:
        owner = pod.controller()
        if not is_terminal(pod) and (new is None or owner is None or owner.uid != new.metadata.uid):
            return True
    return False


def _create(snapshot: Snapshot, old: list[ReplicaSet], size: int) -> Plan:
    deployment = snapshot.deployment
    revision = 1 + max((notes.revision(rs) for rs in old), default=0)
    create = new_replica_set(deployment, revision, size)
    note = ("NewReplicaSetCreated", f'Created new replica set "{create.name}"')
    status, again = status_of(Rollout(deployment, None, old, snapshot.now, note=note))
    return Plan([create], _revision_note(deployment, revision), status, again)


def new_replica_set(deployment: Deployment, revision: int, size: int) -> Create:
    """The ReplicaSet for the Deployment's template."""
    template = deployment.spec.template
    collisions = deployment.status.collision_count
    digest = hash_of(template, str(collisions) if collisions else "")
    meta = template.get("metadata") or {}
    labels = {**(meta.get("labels") or {}), notes.TEMPLATE_HASH: digest}
    selector = to_tree(deployment.spec.selector) if deployment.spec.selector is not None else {}
    match_labels = {**selector.get("matchLabels", {}), notes.TEMPLATE_HASH: digest}
    name = f"{deployment.name}-{digest}"
    tree: Obj = {
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {
                **notes.copied(deployment),
                **notes.size_annotations(deployment),
                notes.REVISION: str(revision),
            },
            "ownerReferences": [to_tree(deployment.as_owner())],
        },
        "spec": {
            "replicas": size,
            "selector": {**selector, "matchLabels": match_labels},
            "template": {**template, "metadata": {**meta, "labels": labels}},
        },
    }
    if deployment.spec.min_ready_seconds:
        tree["spec"]["minReadySeconds"] = deployment.spec.min_ready_seconds
    return Create(name, size, tree)


def _step(snapshot: Snapshot, new: ReplicaSet | None, old: list[ReplicaSet], sizes: Sizes) -> Plan:
    """One step with the current ReplicaSet known (or, while a Recreate drains, not made yet)."""
    deployment = snapshot.deployment
    actions = _resize(deployment, snapshot.sets, sizes)
    own: dict[str, str] = {}
    note = None
    if new is not None:
        revision = max(notes.revision(new), 1 + max((notes.revision(rs) for rs in old), default=0))
        own = _revision_note(deployment, revision)
        actions = _with_notes(actions, deployment, new, revision)
        note = _found(deployment, new)
    if not sizes and complete(deployment):
        actions += _history(deployment, old)
    status, again = status_of(Rollout(deployment, new, old, snapshot.now, note=note))
    return Plan(actions, own, status, again)


def _found(deployment: Deployment, new: ReplicaSet) -> tuple[str, str] | None:
    if any(condition.type == "Progressing" for condition in deployment.status.conditions):
        return None
    return "FoundNewReplicaSet", f'Found new replica set "{new.name}"'


def _revision_note(deployment: Deployment, revision: int) -> dict[str, str]:
    text = str(revision)
    return {} if deployment.metadata.annotations.get(notes.REVISION) == text else {notes.REVISION: text}


def _resize(
    deployment: Deployment, sets: Sequence[ReplicaSet], sizes: Sizes, *, all_active: bool = False
) -> list[Action]:
    """Scales as `sizes` says. With `all_active`, active sets that keep their size learn the new wanted size too."""
    wanted = notes.size_annotations(deployment)
    actions: list[Action] = []
    for rs in sets:
        if rs.name in sizes:
            actions.append(Scale(rs, sizes[rs.name], wanted))
        elif all_active and set_size(rs) > 0 and _differs(rs, wanted):
            actions.append(Annotate(rs, wanted))
    return actions


def _differs(rs: ReplicaSet, wanted: dict[str, str]) -> bool:
    return any(rs.metadata.annotations.get(key) != value for key, value in wanted.items())


def _with_notes(actions: list[Action], deployment: Deployment, new: ReplicaSet, revision: int) -> list[Action]:
    """Adds to the current set's patch what it must carry: revision, history, the Deployment's annotations."""
    have = new.metadata.annotations
    wanted = {**notes.copied(deployment), **notes.size_annotations(deployment)}
    if notes.revision(new) != revision:
        wanted[notes.REVISION] = str(revision)
        if (before := have.get(notes.REVISION)) is not None:
            past = [part for part in have.get(notes.REVISION_HISTORY, "").split(",") if part]
            wanted[notes.REVISION_HISTORY] = ",".join([*past, before] if before not in past else past)
    changed = {key: value for key, value in wanted.items() if have.get(key) != value}
    min_ready = deployment.spec.min_ready_seconds
    ready_differs = min_ready if new.spec.min_ready_seconds != min_ready else None
    for index, action in enumerate(actions):
        if isinstance(action, Scale) and action.replica_set is new:
            merged = Scale(new, action.replicas, {**action.annotations, **changed})
            rest: list[Action] = [Annotate(new, {}, ready_differs)] if ready_differs is not None else []
            return [*actions[:index], merged, *rest, *actions[index + 1 :]]
    if changed or ready_differs is not None:
        return [Annotate(new, changed, ready_differs), *actions]
    return actions


def _history(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[Action]:
    """Removes the oldest emptied ReplicaSets beyond `revisionHistoryLimit`."""
    limit = deployment.spec.revision_history_limit
    limit = 10 if limit is None else limit
    kept = [rs for rs in old if rs.metadata.deletion_timestamp is None]
    empty = [
        rs
        for rs in kept
        if not set_size(rs) and not rs.status.replicas and rs.metadata.generation <= rs.status.observed_generation
    ]
    empty.sort(key=lambda rs: (notes.revision(rs), rs.metadata.creation_timestamp or ""))
    return [Remove(rs) for rs in empty[: max(0, len(kept) - limit)]]
