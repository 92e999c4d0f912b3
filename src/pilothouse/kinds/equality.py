"""Equality as the API counts it: a field that is left out equals one that holds its type's zero value.

Clients written in Go leave zero values out, so an object that was created with `hostNetwork: false` comes back without
it, and that is no change. Where the API itself tells "unset" from zero, the two differ.
"""

from __future__ import annotations

from typing import Any

_UNSET_DIFFERS = frozenset(
    {
        "activeDeadlineSeconds",
        "allowPrivilegeEscalation",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "fsGroup",
        "hostUsers",
        "optional",
        "preemptionPolicy",
        "priority",
        "privileged",
        "readOnlyRootFilesystem",
        "replicas",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "storageClassName",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
    }
)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values mean the same to the API."""
    if one == other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same_field(key, one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other))
    return (one is None and not other) or (other is None and not one)


def _same_field(key: str, one: Any, other: Any) -> bool:
    return one == other if key in _UNSET_DIFFERS else same(one, other)


def changed_fields(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The fields in which two objects differ, in order."""
    return sorted(key for key in one.keys() | other.keys() if not _same_field(key, one.get(key), other.get(key)))
