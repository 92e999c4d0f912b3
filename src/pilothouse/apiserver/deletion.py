"""What a delete does to an object: removes it at once, or marks it and waits for finalizers or the node. Pure.

Source: Kubernetes documentation on garbage collection, finalizers and pod termination.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from pilothouse.machinery.errors import BadRequest, Invalid
from pilothouse.machinery.objects import Obj, Resource, parse_timestamp, timestamp

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_DEFAULT_POD_GRACE = 30
_FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Options:
    """`DeleteOptions`, from body or query; None is unset."""

    grace: int | None = None
    policy: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def read_options(tree: Obj, params: dict[str, str]) -> Options:
    """The options of a request: what the body names, else the query. Raises BadRequest, Invalid."""
    grace: Any = tree.get("gracePeriodSeconds", params.get("gracePeriodSeconds"))
    try:
        grace = int(grace) if grace not in (None, "") else None
    except (TypeError, ValueError) as error:
        raise BadRequest(f"gracePeriodSeconds: Invalid value: {grace!r}: must be a number") from error
    orphan = tree.get("orphanDependents", params.get("orphanDependents"))
    policy = tree.get("propagationPolicy") or params.get("propagationPolicy") or ""
    if policy not in ("", "Orphan", "Background", "Foreground"):
        raise Invalid(
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value:'
            f' "{policy}": supported values: "Orphan", "Background", "Foreground"'
        )
    if orphan is not None:
        if policy:
            raise Invalid(
                'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: orphanDependents and'
                " deletionPropagation cannot be both set"
            )
        policy = "Orphan" if orphan in (True, "true", "1") else "Background"
    preconditions = tree.get("preconditions") or {}
    dry_run = tree.get("dryRun") or ([params["dryRun"]] if "dryRun" in params else [])
    if dry_run not in ([], ["All"]):
        raise BadRequest(f'dryRun: Unsupported value: {dry_run}: supported values: "All"')
    return Options(
        grace,
        policy,
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        bool(dry_run),
    )


def finalizers(obj: Obj) -> list[str]:
    """Everything that must be gone before the object is; a namespace has some in its spec as well."""
    pending = list(obj["metadata"].get("finalizers") or ())
    if obj["kind"] == "Namespace" and obj["apiVersion"] == "v1":
        pending += (obj.get("spec") or {}).get("finalizers") or ()
    return pending


def is_final(obj: Obj) -> bool:
    """Whether nothing holds an object that is being deleted any longer."""
    meta = obj["metadata"]
    return bool(meta.get("deletionTimestamp")) and not meta.get("deletionGracePeriodSeconds") and not finalizers(obj)


def mark(resource: Resource, obj: Obj, options: Options, now: dt.datetime) -> bool:
    """Marks an object as being deleted, in place; false when there is nothing to change.

    Whether it is then removed at once, `is_final` tells.
    """
    changed = _set_policy(obj, options.policy)
    meta = obj["metadata"]
    grace = _grace(resource, obj, options)
    if meta.get("deletionTimestamp"):
        return _shorten(meta, options.grace, grace) or changed
    meta["deletionTimestamp"] = timestamp(now + dt.timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    if meta.get("generation"):
        meta["generation"] += 1
    if resource.kind == "Namespace" and not resource.group:
        obj.setdefault("status", {})["phase"] = "Terminating"
    return True


def _set_policy(obj: Obj, policy: str) -> bool:
    meta = obj["metadata"]
    before = list(meta.get("finalizers") or ())
    if not policy:
        return False
    after = [entry for entry in before if entry not in (FOREGROUND, ORPHAN)]
    if policy == "Foreground":
        after.append(FOREGROUND)
    elif policy == "Orphan":
        after.append(ORPHAN)
    if sorted(after) == sorted(before):
        return False
    meta["finalizers"] = after
    return True


def _grace(resource: Resource, obj: Obj, options: Options) -> int:
    """Seconds a pod has to end by itself; everything else, and a pod that runs nowhere, has none."""
    if resource.kind != "Pod" or resource.group:
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in _FINISHED:
        return 0
    grace = options.grace
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds", _DEFAULT_POD_GRACE)
    return grace if grace >= 0 else 1


def _shorten(meta: Obj, asked: int | None, grace: int) -> bool:
    """A second delete may only bring the end nearer."""
    before = meta.get("deletionGracePeriodSeconds") or 0
    if (asked is None and grace) or grace >= before:
        return False
    began = parse_timestamp(meta["deletionTimestamp"]) - dt.timedelta(seconds=before)
    meta["deletionTimestamp"] = timestamp(began + dt.timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    return True
