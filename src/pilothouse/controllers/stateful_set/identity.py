"""What makes a StatefulSet's pod itself: its ordinal and the names, labels and claims that follow from it. Pure."""

from __future__ import annotations

import re

from pilothouse.controllers.pods import pod_from_template
from pilothouse.controllers.revisions import HASH
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import OwnerReference, to_tree
from pilothouse.machinery.objects import Obj

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


def size(stateful_set: StatefulSet) -> int:
    """The replicas wanted."""
    replicas = stateful_set.spec.replicas
    return 1 if replicas is None else replicas


def start(stateful_set: StatefulSet) -> int:
    """The lowest ordinal."""
    return stateful_set.spec.ordinals.start if stateful_set.spec.ordinals is not None else 0


def in_range(stateful_set: StatefulSet, ordinal: int) -> bool:
    first = start(stateful_set)
    return first <= ordinal < first + size(stateful_set)


def ordinal_of(stateful_set: StatefulSet, pod: Pod) -> int | None:
    """The pod's number in this set; None when its name is not one the set gives."""
    match = _NAME.fullmatch(pod.name)
    return int(match[2]) if match is not None and match[1] == stateful_set.name else None


def identity_labels(name: str, ordinal: int) -> dict[str, str]:
    return {POD_NAME: name, POD_INDEX: str(ordinal)}


def claim_names(stateful_set: StatefulSet, ordinal: int) -> dict[str, str]:
    """Volume names and the claims behind them."""
    names = [(template.get("metadata") or {}).get("name", "") for template in stateful_set.spec.volume_claim_templates]
    return {name: f"{name}-{stateful_set.name}-{ordinal}" for name in names}


def pod_tree(stateful_set: StatefulSet, template: Obj, revision: str, ordinal: int) -> Obj:
    """The pod of that ordinal from a revision's template."""
    name = f"{stateful_set.name}-{ordinal}"
    tree = pod_from_template(template, to_tree(stateful_set.as_owner()), f"{stateful_set.name}-", name)
    labels = tree["metadata"].get("labels") or {}
    tree["metadata"]["labels"] = {**labels, **identity_labels(name, ordinal), HASH: revision}
    claims = claim_names(stateful_set, ordinal)
    volumes = [{"name": key, "persistentVolumeClaim": {"claimName": claim}} for key, claim in claims.items()]
    volumes += [volume for volume in tree["spec"].get("volumes") or () if volume.get("name") not in claims]
    spec = {**tree["spec"], "hostname": name}
    if stateful_set.spec.service_name:
        spec["subdomain"] = stateful_set.spec.service_name
    if volumes:
        spec["volumes"] = volumes
    return {**tree, "spec": spec}


def claim_trees(stateful_set: StatefulSet, ordinal: int) -> dict[str, Obj]:
    """The claims of that ordinal by name, with the owner that the retention policy asks for."""
    trees = {}
    names = claim_names(stateful_set, ordinal)
    selected = stateful_set.spec.selector.match_labels if stateful_set.spec.selector is not None else {}
    for template in stateful_set.spec.volume_claim_templates:
        meta = template.get("metadata") or {}
        metadata: Obj = {"name": names[meta.get("name", "")], "labels": {**(meta.get("labels") or {}), **selected}}
        if meta.get("annotations"):
            metadata["annotations"] = meta["annotations"]
        if _deleted_with_set(stateful_set):
            metadata["ownerReferences"] = [to_tree(_set_owner(stateful_set))]
        trees[metadata["name"]] = {"metadata": metadata, "spec": template.get("spec") or {}}
    return trees


def claim_owners(
    stateful_set: StatefulSet, pod: Pod, claim: PersistentVolumeClaim, ordinal: int
) -> list[OwnerReference] | None:
    """The owners the claim should have by the retention policy; None when it has them.

    A claim that goes with the set is owned by the set, one that goes when scaled down by its pod, once that is to go.
    """
    retention = stateful_set.spec.persistent_volume_claim_retention_policy
    scaled = retention is not None and retention.when_scaled == "Delete" and not in_range(stateful_set, ordinal)
    owners = []
    for ref in claim.metadata.owner_references:
        if ref.uid != stateful_set.metadata.uid and not (ref.kind == "Pod" and ref.name == pod.name):
            owners.append(ref)
    if scaled:
        owners.append(OwnerReference(api_version="v1", kind="Pod", name=pod.name, uid=pod.metadata.uid))
    elif _deleted_with_set(stateful_set):
        owners.append(_set_owner(stateful_set))
    have = {ref.uid for ref in claim.metadata.owner_references}
    return None if have == {ref.uid for ref in owners} else owners


def is_stale(claim: PersistentVolumeClaim, pod_name: str) -> bool:
    """True for a claim that goes away with a pod that is gone: a new pod must wait for a new claim."""
    owned = any(ref.kind == "Pod" and ref.name == pod_name for ref in claim.metadata.owner_references)
    return owned or claim.metadata.deletion_timestamp is not None


def _deleted_with_set(stateful_set: StatefulSet) -> bool:
    retention = stateful_set.spec.persistent_volume_claim_retention_policy
    return retention is not None and retention.when_deleted == "Delete"


def _set_owner(stateful_set: StatefulSet) -> OwnerReference:
    resource = stateful_set.resource
    return OwnerReference(
        api_version=resource.api_version, kind=resource.kind, name=stateful_set.name, uid=stateful_set.metadata.uid
    )
