"""Objects as a cluster would make them: nulls dropped, defaults that come from elsewhere filled in. Pure.

- A request that is not set is the limit (core/v1 defaulting).
- LimitRange of the namespace fills in limits and requests (admission plugin LimitRanger).
- A service account's automountServiceAccountToken counts unless the pod says otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from pilothouse.guard.podspec import PodSpec, pod_spec, value_at
from pilothouse.machinery.objects import Obj


def without_nulls(value: Any) -> Any:
    """The value without null fields, which the API drops; the same object when there are none."""
    if isinstance(value, dict):
        kept = {key: without_nulls(child) for key, child in value.items() if child is not None}
        same = len(kept) == len(value) and all(kept[key] is value[key] for key in kept)
        return value if same else kept
    if isinstance(value, list):
        entries = [without_nulls(child) for child in value]
        return value if all(a is b for a, b in zip(entries, value)) else entries
    return value


def effective(trees: Iterable[Obj], namespace: str) -> list[Obj]:
    """The trees as they would be in a cluster; `namespace` is that of objects which name none."""
    found = [without_nulls(tree) for tree in trees]
    defaults = _limit_ranges(found, namespace)
    mounts: dict[str, dict[str, bool]] = {}
    for tree in found:
        if tree.get("kind") == "ServiceAccount" and isinstance(tree.get("automountServiceAccountToken"), bool):
            name = str(value_at(tree, "metadata.name"))
            mounts.setdefault(_namespace(tree, namespace), {})[name] = tree["automountServiceAccountToken"]
    places = [_namespace(tree, namespace) for tree in found]
    return [completed(tree, defaults.get(of, []), mounts.get(of, {})) for tree, of in zip(found, places)]


def completed(tree: Obj, limits: list[Obj], mounts: Mapping[str, bool]) -> Obj:
    """A tree with what its namespace adds: `limits` are the entries of LimitRanges for containers, `mounts` is what
    service accounts have as automountServiceAccountToken. The same tree when that is nothing."""
    pod = pod_spec(tree)
    if pod is None:
        return tree
    mounted = mounts.get(str(pod.spec.get("serviceAccountName") or pod.spec.get("serviceAccount") or "default"))
    takes_mount = mounted is not None and "automountServiceAccountToken" not in pod.spec
    if not limits and not takes_mount and not _lacks_requests(pod):
        return tree
    changed: Obj = copy.deepcopy(tree)
    pod = pod_spec(changed)
    assert pod is not None
    if takes_mount:
        pod.spec["automountServiceAccountToken"] = mounted
    for _, container in pod.containers("containers", "initContainers"):
        _fill(container, limits)
    return changed


def _lacks_requests(pod: PodSpec) -> bool:
    return any(
        isinstance(resources := container.get("resources"), dict)
        and isinstance(resources.get("limits"), dict)
        and isinstance(resources.get("requests", {}), dict)
        and set(resources["limits"]) - set(resources.get("requests", {}))
        for _, container in pod.containers("containers", "initContainers")
    )


def _fill(container: Obj, defaults: list[Obj]) -> None:
    resources = container.setdefault("resources", {})
    if not isinstance(resources, dict):
        return
    limits = resources.setdefault("limits", {})
    requests = resources.setdefault("requests", {})
    if not isinstance(limits, dict) or not isinstance(requests, dict):
        return
    for name, amount in limits.items():
        requests.setdefault(name, amount)
    for entry in defaults:
        for name, amount in _mapping(entry, "defaultRequest").items():
            requests.setdefault(name, amount)
        for name, amount in _mapping(entry, "default").items():
            limits.setdefault(name, amount)
            requests.setdefault(name, amount)


def _limit_ranges(trees: Iterable[Obj], namespace: str) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = {}
    for tree in trees:
        if tree.get("kind") == "LimitRange":
            found.setdefault(_namespace(tree, namespace), []).extend(container_limits(tree))
    return found


def container_limits(limit_range: Obj) -> list[Obj]:
    """The entries of a LimitRange that are about containers."""
    entries = value_at(limit_range, "spec.limits")
    listed = entries if isinstance(entries, list) else []
    return [entry for entry in listed if isinstance(entry, dict) and entry.get("type") == "Container"]


def _mapping(entry: Obj, name: str) -> Obj:
    value = entry.get(name)
    return value if isinstance(value, dict) else {}


def _namespace(tree: Obj, namespace: str) -> str:
    return str(value_at(tree, "metadata.namespace") or namespace)
