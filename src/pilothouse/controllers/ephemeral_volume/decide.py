"""Which claims a pod's generic ephemeral volumes need. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilothouse.controllers.pods import is_active
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj


@dataclass(frozen=True, slots=True)
class Plan:
    """Claims to make, by name, and what stands in the way of others."""

    create: dict[str, Obj] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


def claim_names(pod: Pod) -> dict[str, str]:
    """Names of the ephemeral volumes and of the claims behind them."""
    return {volume.name: f"{pod.name}-{volume.name}" for volume in pod.spec.volumes if volume.ephemeral is not None}


def decide(pod: Pod, claims: Mapping[str, PersistentVolumeClaim]) -> Plan:
    """`claims` are those there are of the pod's names. A claim of another owner is never used: its data is not the
    pod's to see."""
    plan = Plan()
    if not is_active(pod):
        return plan
    for volume in pod.spec.volumes:
        if volume.ephemeral is None:
            continue
        name = f"{pod.name}-{volume.name}"
        claim = claims.get(name)
        if claim is None:
            plan.create[name] = _tree(pod, name, volume.ephemeral.volume_claim_template or {})
        elif not is_owned(claim, pod):
            plan.conflicts.append(conflict(name, pod))
    return plan


def is_owned(claim: PersistentVolumeClaim, pod: Pod) -> bool:
    owner = claim.controller()
    return owner is not None and owner.uid == pod.metadata.uid


def conflict(name: str, pod: Pod) -> str:
    return (
        f'PVC "{pod.namespace}/{name}" was not created for pod "{pod.key}" (pod is not owner): delete the claim or '
        "rename the pod"
    )


def _tree(pod: Pod, name: str, template: Obj) -> Obj:
    meta = template.get("metadata") or {}
    metadata: Obj = {"name": name, "ownerReferences": [to_tree(pod.as_owner())]}
    for key in ("labels", "annotations"):
        if meta.get(key):
            metadata[key] = meta[key]
    return {"metadata": metadata, "spec": template.get("spec") or {}}
