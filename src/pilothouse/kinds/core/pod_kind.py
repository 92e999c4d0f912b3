"""Pod as the API server sees it: defaults, rules, columns and selectable fields together."""

from __future__ import annotations

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_columns import COLUMNS
from pilothouse.kinds.core.pod_defaults import default_pod
from pilothouse.kinds.core.pod_qos import qos_class
from pilothouse.kinds.core.pod_update import check_pod_update
from pilothouse.kinds.core.pod_validation import check_pod_spec
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery.objects import Obj, timestamp
from pilothouse.machinery.remembered import Remembered, fingerprint

_RIGHT: Remembered[bool] = Remembered(512)
"""Specs of new pods that nothing was wrong with."""


def _rules(pod: Obj, old: Obj | None, problems: Problems) -> None:
    spec = section(pod, "spec")
    if old is None:
        key = fingerprint(spec)
        if not _RIGHT.get(key):
            found = Problems()
            check_pod_spec(spec, "spec", found, of_pod=True)
            _check_creation(spec, found)
            if not found:
                _RIGHT.put(key, True)
            problems += found
    elif spec != (before := section(old, "spec")):
        check_pod_update(spec, before, problems)
    if old is not None:
        _check_nomination(pod, old, problems)


def _check_creation(spec: Obj, problems: Problems) -> None:
    """Source: `ValidatePodCreate`, and what upstream asks of pods but not of templates."""
    for key in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            image = container.get("image") or ""
            if image != image.strip():
                problems.invalid(f"spec.{key}[{index}].image", image, "must not have leading or trailing whitespace")
    if spec.get("ephemeralContainers"):
        problems.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("schedulingGates") and spec.get("nodeName"):
        problems.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def _check_nomination(pod: Obj, old: Obj, problems: Problems) -> None:
    """Source: upstream's feature ClearingNominatedNodeNameAfterBinding: binding a pod ends its nomination."""
    wanted = section(pod, "status").get("nominatedNodeName")
    if wanted and section(old, "spec").get("nodeName") and wanted != section(old, "status").get("nominatedNodeName"):
        problems.forbidden("status.nominatedNodeName", "may not be set on pods that are already bound to a node")


def _on_create(pod: Obj) -> None:
    spec = section(pod, "spec")
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastTransitionTime": timestamp(),
            }
        ]


def _fields(pod: Obj) -> dict[str, str]:
    spec, status = section(pod, "spec"), section(pod, "status")
    return {
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.restartPolicy": spec.get("restartPolicy") or "",
        "spec.schedulerName": spec.get("schedulerName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
        "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
        "status.phase": status.get("phase") or "",
        "status.podIP": status.get("podIP") or "",
        "status.nominatedNodeName": status.get("nominatedNodeName") or "",
    }


KIND = Kind(
    view=Pod,
    short_names=("po",),
    categories=("all",),
    subresources=frozenset(
        {
            "status",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "log",
            "exec",
            "attach",
            "portforward",
            "proxy",
            "resize",
        }
    ),
    columns=COLUMNS,
    generation_fields=("spec",),
    defaults=default_pod,
    rules=_rules,
    on_create=_on_create,
    fields=_fields,
    returns_deleted=True,
)
