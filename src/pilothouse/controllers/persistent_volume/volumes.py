"""What a volume needs: its phase, its protection, and its end when its claim is gone. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pilothouse.controllers.persistent_volume.claims import LOCAL_FINALIZER, PV_PROTECTION
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.reconcile.volumes import LOCAL_PROVISIONER, PROVISIONED_BY

_HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Plan:
    """`finalizers` None leaves them; `delete` asks for the volume's deletion."""

    phase: str
    message: str = ""
    finalizers: list[str] | None = None
    delete: bool = False


def decide(volume: PersistentVolume, claim: PersistentVolumeClaim | None, hostnames: Collection[str]) -> Plan:
    """The plan for a volume; `claim` is what its claimRef names now (None if gone), `hostnames` those of all nodes."""
    phase, message, delete = _phase(volume, claim)
    finalizers = list(volume.metadata.finalizers)
    if volume.metadata.deletion_timestamp is None:
        if PV_PROTECTION not in finalizers:
            finalizers.append(PV_PROTECTION)
    else:
        delete = False
        if phase != "Bound" and PV_PROTECTION in finalizers:
            finalizers.remove(PV_PROTECTION)
        if LOCAL_FINALIZER in finalizers and phase != "Bound" and not _host_exists(volume, hostnames):
            # Its directory went with the machine; nobody else will take the finalizer away.
            finalizers.remove(LOCAL_FINALIZER)
    changed = finalizers if finalizers != volume.metadata.finalizers else None
    return Plan(phase, message, changed, delete)


def _phase(volume: PersistentVolume, claim: PersistentVolumeClaim | None) -> tuple[str, str, bool]:
    ref = volume.spec.claim_ref
    if ref is None or not ref.uid:
        return "Available", "", False
    if claim is not None and claim.metadata.uid == ref.uid:
        if claim.spec.volume_name in ("", volume.name):
            return "Bound", "", False
        ours = volume.metadata.annotations.get(PROVISIONED_BY) == LOCAL_PROVISIONER
        return "Released", "its claim is bound to another volume", ours
    if volume.spec.persistent_volume_reclaim_policy == "Delete":
        provisioner = volume.metadata.annotations.get(PROVISIONED_BY, "")
        if provisioner == LOCAL_PROVISIONER:
            return "Released", "", True
        if provisioner and not provisioner.startswith("kubernetes.io/"):
            # Who made it deletes it once it is released, the object too.
            return "Released", "", False
        return "Failed", "Pilothouse deletes only volumes that it made: delete this one by hand", False
    return "Released", "", False


def _host_exists(volume: PersistentVolume, hostnames: Collection[str]) -> bool:
    affinity = volume.spec.node_affinity
    terms = affinity.required.node_selector_terms if affinity is not None and affinity.required is not None else []
    named = {
        value
        for term in terms
        for expression in term.match_expressions
        if expression.key == _HOSTNAME
        for value in expression.values
    }
    return not named or bool(named & set(hostnames))
