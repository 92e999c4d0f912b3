"""The objects that show static pods at the API: which there should be, and what they say. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.static_pod import HASH, MIRROR
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj, timestamp


@dataclass(slots=True)
class Plan:
    """`shown`: the UID of the mirror by that of the static pod."""

    shown: dict[str, str] = field(default_factory=dict)
    create: list[Pod] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)


def is_static(pod: Pod) -> bool:
    """Whether a pod kept on disk came from a file: nobody chooses the UID that the API gives a pod."""
    return pod.metadata.annotations.get(HASH) == pod.metadata.uid


def plan_mirrors(wanted: Mapping[str, Pod], running: Collection[str], present: Iterable[Pod]) -> Plan:
    """`wanted` are the pods that have a file, by key; `running` the UIDs of the static pods there are; `present` the
    node's pods at the API. A mirror stays as long as its pod runs, and no longer."""
    plan = Plan()
    taken = set()
    for mirror in present:
        taken.add(mirror.key)
        uid = mirror.metadata.annotations.get(MIRROR)
        if uid is None:
            continue
        pod = wanted.get(mirror.key)
        current = pod is not None and pod.metadata.uid == uid
        if mirror.metadata.deletion_timestamp is None and (current or uid in running):
            plan.shown[uid] = mirror.metadata.uid
        else:
            plan.delete.append(mirror)
    plan.create = [pod for key, pod in wanted.items() if key not in taken]
    return plan


def mirror_of(pod: Pod, node: Node) -> Obj:
    """The object that shows a static pod. The API computes its priority itself."""
    tree = to_tree(pod)
    meta = tree["metadata"]
    meta.pop("uid")
    meta["annotations"] = {**meta["annotations"], MIRROR: pod.metadata.uid}
    owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.metadata.uid, "controller": True}
    meta["ownerReferences"] = [owner]
    tree["spec"].pop("priority", None)
    tree.pop("status", None)
    return tree


def ended(pod: Pod) -> Pod:
    """The pod with its deletion asked for now."""
    grace = pod.spec.termination_grace_period_seconds
    meta = msgspec.structs.replace(
        pod.metadata, deletion_timestamp=timestamp(), deletion_grace_period_seconds=30 if grace is None else grace
    )
    return msgspec.structs.replace(pod, metadata=meta)
