"""Where kinds keep a pod's spec, and the labels its pods will carry. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from pilothouse.machinery.objects import Obj

_TEMPLATE = {
    "Pod": "",
    "PodTemplate": "template",
    "CronJob": "spec.jobTemplate.spec.template",
    "Deployment": "spec.template",
    "ReplicaSet": "spec.template",
    "StatefulSet": "spec.template",
    "DaemonSet": "spec.template",
    "ReplicationController": "spec.template",
    "Job": "spec.template",
    "Rollout": "spec.template",
}
WORKLOADS = frozenset(_TEMPLATE) - {"PodTemplate"}
"""Kinds that run pods."""
CONTAINER_FIELDS = ("containers", "initContainers", "ephemeralContainers")


class PodSpec(NamedTuple):
    """A pod's spec as found in an object, the path to it and the pods' labels."""

    path: str
    spec: Obj
    labels: dict[str, str]

    def containers(self, *fields: str) -> list[tuple[str, Obj]]:
        """Containers with their paths; all kinds of them unless some are named."""
        return [
            (f"{self.path}.{name}[{index}]", container)
            for name in fields or CONTAINER_FIELDS
            for index, container in enumerate(_sequence(self.spec.get(name)))
            if isinstance(container, dict)
        ]


def pod_spec(tree: Obj) -> PodSpec | None:
    """The pod spec of a pod or a workload, None for other kinds and for what has no such shape."""
    where = _TEMPLATE.get(str(tree.get("kind")))
    if where is None:
        return None
    template = value_at(tree, where)
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return None
    labels = value_at(template, "metadata.labels")
    return PodSpec(f"{where}.spec".lstrip("."), template["spec"], labels if isinstance(labels, dict) else {})


def value_at(tree: Any, path: str) -> Any:
    """The value at a dotted path of keys, None where there is none."""
    for step in path.split(".") if path else ():
        if not isinstance(tree, dict):
            return None
        tree = tree.get(step)
    return tree


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
