"""References from environment variables and volumes to fields of the pod or resources of its containers."""

from __future__ import annotations

import re

from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj

_COMMON = ("metadata.name", "metadata.namespace", "metadata.uid")
ENV_FIELDS = frozenset(
    {
        *_COMMON,
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
VOLUME_FIELDS = frozenset({*_COMMON, "metadata.labels", "metadata.annotations"})
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['.+'\]")
_RESOURCES = frozenset(
    f"{kind}.{resource}" for kind in ("limits", "requests") for resource in ("cpu", "memory", "ephemeral-storage")
)
_CPU_DIVISORS = ("1m", "1")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


def check_field_ref(reference: Obj, supported: frozenset[str], path: str, problems: Problems) -> None:
    """A fieldRef: its path is one of those supported, or names one label or annotation."""
    field_path = reference.get("fieldPath") or ""
    if not field_path:
        problems.required(f"{path}.fieldPath")
    elif field_path not in supported and _SUBSCRIPT.fullmatch(field_path) is None:
        problems.unsupported(f"{path}.fieldPath", field_path, supported)
    if reference.get("apiVersion", "v1") != "v1":
        problems.unsupported(f"{path}.apiVersion", reference["apiVersion"], ("v1",))


def check_resource_ref(reference: Obj, in_volume: bool, path: str, problems: Problems) -> None:
    """A resourceFieldRef: which container (named, in a volume), which resource, divided by what."""
    if in_volume and not reference.get("containerName"):
        problems.required(f"{path}.containerName")
    resource = reference.get("resource") or ""
    if not resource:
        problems.required(f"{path}.resource")
        return
    if resource not in _RESOURCES:
        problems.unsupported(f"{path}.resource", resource, _RESOURCES)
        return
    divisor = reference.get("divisor", "0")
    allowed = _CPU_DIVISORS if resource.endswith(".cpu") else _BYTE_DIVISORS
    if divisor not in ("", "0", *allowed):
        what = resource.partition(".")[2]
        problems.invalid(
            f"{path}.divisor",
            divisor,
            f"only divisor's values {', '.join(allowed)} are supported with the {what} resource",
        )
