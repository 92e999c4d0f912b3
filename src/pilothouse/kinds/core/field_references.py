"""References from environment variables and volumes to fields of the pod or resources of its containers."""

from __future__ import annotations

import re

from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
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
_KNOWN = ENV_FIELDS | VOLUME_FIELDS | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}
_SUBSCRIPT = re.compile(r"(.+?)\['(.*)'\]", re.DOTALL)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_RESOURCES = frozenset(
    f"{kind}.{resource}" for kind in ("limits", "requests") for resource in ("cpu", "memory", "ephemeral-storage")
)
_CPU_DIVISORS = ("1m", "1")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")


def check_field_ref(reference: Obj, supported: frozenset[str], path: str, problems: Problems) -> None:
    """A fieldRef: its path is one of those supported, or names one label or annotation."""
    version, field_path = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    at = f"{path}.fieldPath"
    if not version:
        problems.required(f"{path}.apiVersion")
        return
    if not field_path:
        problems.required(at)
        return
    match = _SUBSCRIPT.fullmatch(field_path)
    whole, key = match.groups() if match else (field_path, "")
    wrong = ""
    if version != "v1":
        wrong = f"unsupported pod version: {version}"
    elif match is not None and whole not in ("metadata.labels", "metadata.annotations"):
        wrong = f"field label does not support subscript: {field_path}"
    elif match is None and field_path not in _KNOWN:
        wrong = f"field label not supported: {field_path}"
    if wrong:
        problems.invalid(at, field_path, f"error converting fieldPath: {wrong}")
    elif match is not None:
        messages = names.label_key(key) if whole == "metadata.labels" else names.annotation_key(key)
        problems.invalid_each(path, key if whole == "metadata.labels" else key.lower(), messages)
    elif field_path not in supported:
        problems.unsupported(at, field_path, supported)


def check_resource_ref(reference: Obj, in_volume: bool, path: str, problems: Problems) -> None:
    """A resourceFieldRef: which container (named, in a volume), which resource, divided by what."""
    resource = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        problems.required(f"{path}.containerName")
    elif not resource:
        problems.required(f"{path}.resource")
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        problems.unsupported(f"{path}.resource", resource, _RESOURCES)
    divisor = reference.get("divisor", "0")
    if divisor in ("", "0") or (resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES)):
        return
    what = resource.partition(".")[2]
    if what == "cpu":
        if divisor not in _CPU_DIVISORS:
            problems.invalid(
                f"{path}.divisor", resource, "only divisor's values 1m and 1 are supported with the cpu resource"
            )
    elif divisor not in _BYTE_DIVISORS:
        told = {"memory": what, "ephemeral-storage": "local ephemeral storage"}.get(what, "hugepages")
        detail = f"only divisor's values {', '.join(_BYTE_DIVISORS)} are supported with the {told} resource"
        problems.invalid(f"{path}.divisor", resource, detail)
