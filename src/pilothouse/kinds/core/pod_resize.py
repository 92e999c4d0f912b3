"""What a resize of a pod may change: CPU and memory of its containers. Source: `ValidatePodResize` of Kubernetes."""

from __future__ import annotations

from pilothouse.kinds.core.pod_qos import qos_class
from pilothouse.kinds.core.resource_validation import check_resources
from pilothouse.kinds.equality import same
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

RESIZABLE = ("cpu", "memory")


def take_resources(spec: Obj, wanted: Obj) -> None:
    """Puts the resources that `wanted` gives its containers into `spec`; everything else of it is ignored."""
    for key in ("containers", "initContainers"):
        given = {container.get("name"): container for container in wanted.get(key) or ()}
        for container in spec.get(key) or ():
            new = given.get(container.get("name"))
            if new is not None:
                container["resources"] = new.get("resources") or {}


def check_resize(spec: Obj, old: Obj, problems: Problems) -> None:
    """The resized spec against the one before."""
    for key in ("containers", "initContainers"):
        for index, (container, before) in enumerate(zip(spec.get(key) or (), old.get(key) or ())):
            at = f"spec.{key}[{index}].resources"
            new, was = container.get("resources") or {}, before.get("resources") or {}
            if same(new, was):
                continue
            if key == "initContainers" and container.get("restartPolicy") != "Always":
                problems.forbidden(at, "only sidecars of the init containers can be resized")
                continue
            _check_container(new, was, at, problems)
    if qos_class(spec) != qos_class(old):
        problems.invalid("spec", qos_class(spec), "Pod QOS Class may not change as a result of resizing")


def _check_container(new: Obj, was: Obj, at: str, problems: Problems) -> None:
    check_resources(new, at, problems)
    for side in ("limits", "requests"):
        given, before = new.get(side) or {}, was.get(side) or {}
        for name in sorted({*given, *before}):
            if name not in RESIZABLE and given.get(name) != before.get(name):
                problems.forbidden(f"{at}.{side}", "only cpu and memory resources are mutable")
            elif name in before and name not in given:
                problems.forbidden(f"{at}.{side}", f"resource {side} cannot be removed")
