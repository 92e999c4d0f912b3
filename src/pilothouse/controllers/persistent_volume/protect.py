"""Claims are not removed under the pods that use them. Pure."""

from __future__ import annotations

from pilothouse.controllers.pods import is_terminal
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod

PVC_PROTECTION = "kubernetes.io/pvc-protection"


def claims_of(pod: Pod) -> list[str]:
    """Names of the claims a pod's volumes refer to."""
    names = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            names.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None:
            names.append(f"{pod.name}-{volume.name}")
    return names


def uses(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    """True while the pod may write to the claim's volume."""
    return not is_terminal(pod) and claim.name in claims_of(pod)


def claim_finalizers(claim: PersistentVolumeClaim, *, used: bool) -> list[str]:
    """The finalizers a claim should have."""
    finalizers = list(claim.metadata.finalizers)
    if claim.metadata.deletion_timestamp is None:
        if PVC_PROTECTION not in finalizers:
            finalizers.append(PVC_PROTECTION)
    elif PVC_PROTECTION in finalizers and not used:
        finalizers.remove(PVC_PROTECTION)
    return finalizers
