"""The tree of a Job's pod. Pure."""

from __future__ import annotations

from pilothouse.controllers.job.pods import FAILURES, IGNORED_FAILURES
from pilothouse.controllers.job.scale import NewPod
from pilothouse.controllers.names import random_suffix
from pilothouse.controllers.pods import pod_from_template
from pilothouse.kinds.batch.job import COMPLETION_INDEX, TRACKING_FINALIZER, Job
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.objects import Obj

_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_PREFIX = 58
"""A generated name is cut here before its suffix, to stay within 63 characters."""


def pod_tree(job: Job, new: NewPod) -> Obj:
    """A pod of the Job's template; an indexed one knows its index by name, label, annotation and environment."""
    tail = "-" if new.index is None else f"-{new.index}-"
    prefix = job.name[: _PREFIX - len(tail)] + tail
    pod = pod_from_template(job.spec.template, to_tree(job.as_owner()), prefix, prefix + random_suffix())
    meta = pod["metadata"]
    meta["finalizers"] = [*meta.get("finalizers", ()), TRACKING_FINALIZER]
    if new.index is None:
        return pod
    index = str(new.index)
    annotations = {**(meta.get("annotations") or {}), COMPLETION_INDEX: index}
    if new.failures is not None:
        annotations[FAILURES] = str(new.failures)
        if new.ignored:
            annotations[IGNORED_FAILURES] = str(new.ignored)
    meta["annotations"] = annotations
    meta["labels"] = {**(meta.get("labels") or {}), COMPLETION_INDEX: index}
    spec = {**pod["spec"], "hostname": f"{job.name}-{index}"}
    for key in ("initContainers", "containers"):
        if spec.get(key):
            spec[key] = [_told_its_index(container) for container in spec[key]]
    pod["spec"] = spec
    return pod


def _told_its_index(container: Obj) -> Obj:
    env = container.get("env") or []
    if any(variable.get("name") == _INDEX_VARIABLE for variable in env):
        return container
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{COMPLETION_INDEX}']"}}
    return {**container, "env": [*env, {"name": _INDEX_VARIABLE, "valueFrom": source}]}
