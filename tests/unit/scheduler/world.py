"""Nodes and pods for scheduling, in few words."""

from __future__ import annotations

from typing import Any

import msgspec

from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any) -> Node:
    spec = {key: more.pop(key) for key in ("taints", "unschedulable") if key in more}
    labels = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    tree = {
        "metadata": {"name": name, "labels": labels, "annotations": more.pop("annotations", {})},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}, **more},
    }
    return msgspec.convert(tree, Node)


def pod(name: str, *, cpu: str = "", memory: str = "", labels: dict[str, str] | None = None, **spec: Any) -> PodInfo:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    container = {"name": "c", "image": "i", "resources": {"requests": requests}, "ports": spec.pop("ports", [])}
    owner = spec.pop("owner", "")
    owners = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}]
    tree = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "labels": labels or {},
            "ownerReferences": owners if owner else [],
        },
        "spec": {"containers": [container], **spec},
    }
    return PodInfo.of(msgspec.convert(tree, Pod))


def snapshot(*nodes: Node) -> Snapshot:
    made = Snapshot()
    for one in nodes:
        made.put_node(one)
    return made
