"""What controllers ask about a pod: is it active, ready, available, and since when."""

from __future__ import annotations

import datetime as dt

from pilothouse.controllers.conditions import find
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj, parse_timestamp

FINISHED = ("Succeeded", "Failed")


def is_terminal(pod: Pod) -> bool:
    return pod.status.phase in FINISHED


def is_active(pod: Pod) -> bool:
    """True unless the pod has ended or is being deleted."""
    return not is_terminal(pod) and pod.metadata.deletion_timestamp is None


def is_terminating(pod: Pod) -> bool:
    """True for a pod that is being deleted and has not ended."""
    return not is_terminal(pod) and pod.metadata.deletion_timestamp is not None


def is_ready(pod: Pod) -> bool:
    condition = find(pod.status.conditions, "Ready")
    return condition is not None and condition.status == "True"


def ready_since(pod: Pod) -> dt.datetime | None:
    """When the pod last became ready; None while it is not."""
    condition = find(pod.status.conditions, "Ready")
    if condition is None or condition.status != "True" or not condition.last_transition_time:
        return None
    return parse_timestamp(condition.last_transition_time)


def available_in(pod: Pod, min_ready_seconds: int, now: dt.datetime) -> float | None:
    """Seconds until the pod counts as available if it stays ready (0 when it does already); None while not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if not min_ready_seconds:
        return 0.0
    if since is None:
        return float(min_ready_seconds)
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def pod_from_template(template: Obj, owner: Obj, name_prefix: str, name: str) -> Obj:
    """The tree of a pod made from a pod template for its controlling owner reference."""
    meta = template.get("metadata") or {}
    metadata: Obj = {"name": name, "generateName": name_prefix, "ownerReferences": [owner]}
    for key in ("labels", "annotations", "finalizers"):
        if meta.get(key):
            metadata[key] = meta[key]
    return {"metadata": metadata, "spec": template.get("spec") or {}}
