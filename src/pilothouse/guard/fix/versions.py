"""API versions that another one says the same as, field for field and default for default. Pure.

Source: Kubernetes documentation, "Deprecated API Migration Guide"; listed are those without notable changes, or with
conditions under which there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pilothouse.guard.podspec import value_at
from pilothouse.guard.removals import removal_of
from pilothouse.guard.schema import UNFIT, form
from pilothouse.machinery.objects import Obj

_LATEST: Final = (1, 35)


class Lossless(NamedTuple):
    """The version that says the same."""

    version: str


_SAME: Final[Mapping[tuple[str, str], str]] = {
    ("apps/v1beta2", "Deployment"): "apps/v1",
    ("apps/v1beta2", "ReplicaSet"): "apps/v1",
    ("apps/v1beta2", "StatefulSet"): "apps/v1",
    ("apps/v1beta2", "DaemonSet"): "apps/v1",
    ("batch/v1beta1", "CronJob"): "batch/v1",
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): "autoscaling/v2",
    ("policy/v1beta1", "PodDisruptionBudget"): "policy/v1",
    ("extensions/v1beta1", "NetworkPolicy"): "networking.k8s.io/v1",
    ("networking.k8s.io/v1beta1", "IngressClass"): "networking.k8s.io/v1",
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): "scheduling.k8s.io/v1",
    ("storage.k8s.io/v1beta1", "StorageClass"): "storage.k8s.io/v1",
    ("storage.k8s.io/v1beta1", "CSIDriver"): "storage.k8s.io/v1",
    ("storage.k8s.io/v1beta1", "CSINode"): "storage.k8s.io/v1",
    ("storage.k8s.io/v1beta1", "CSIStorageCapacity"): "storage.k8s.io/v1",
    ("storage.k8s.io/v1beta1", "VolumeAttachment"): "storage.k8s.io/v1",
    ("coordination.k8s.io/v1beta1", "Lease"): "coordination.k8s.io/v1",
    ("node.k8s.io/v1beta1", "RuntimeClass"): "node.k8s.io/v1",
    ("apiregistration.k8s.io/v1beta1", "APIService"): "apiregistration.k8s.io/v1",
    **{
        ("rbac.authorization.k8s.io/v1beta1", kind): "rbac.authorization.k8s.io/v1"
        for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    },
    **{
        (f"flowcontrol.apiserver.k8s.io/v1beta{number}", "FlowSchema"): "flowcontrol.apiserver.k8s.io/v1"
        for number in (1, 2, 3)
    },
}


def lossless(tree: Obj) -> Lossless | str:
    """The version that says the same as the tree's, or why none does."""
    api_version, kind = str(tree.get("apiVersion")), str(tree.get("kind"))
    version = _SAME.get((api_version, kind))
    if version is None:
        removal = removal_of(api_version, kind)
        instead = removal.instead if removal else "the newer version"
        return f"{instead} has other fields or defaults: kubectl convert, and look at what changes"
    return _condition(tree, api_version, kind) or _unfit({**tree, "apiVersion": version}) or Lossless(version)


def _unfit(tree: Obj) -> str:
    """What of the object the other version's schema does not know or allow, "" for nothing."""
    wrong = [message for check, message, _ in form(tree, _LATEST).hits if check is UNFIT]
    return f"it does not fit {tree['apiVersion']}: {wrong[0]}" if wrong else ""


def _condition(tree: Obj, api_version: str, kind: str) -> str:
    """Why this object would mean something else, "" if it would not."""
    selector = value_at(tree, "spec.selector")
    if kind == "PodDisruptionBudget" and isinstance(selector, dict) and not any(selector.values()):
        return "its empty selector selects nothing now, and would select every pod"
    if api_version.startswith("apps/"):
        if not selector:
            return "apps/v1 needs spec.selector"
        if value_at(tree, "spec.templateGeneration") is not None:
            return "apps/v1 has no spec.templateGeneration"
    return ""
