"""What pods used, as `metrics.k8s.io` answers it. Pure.

Source of the rules and wording: upstream's metrics client for the autoscaler.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence

from pilothouse.controllers.horizontal_pod_autoscaler.usage import Sample, Unmeasured
from pilothouse.machinery.objects import Obj, parse_timestamp
from pilothouse.machinery.quantity import InvalidQuantity, parse_quantity

_PART = re.compile(r"([0-9]*\.?[0-9]+)(ms|us|µs|ns|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def resource_samples(metrics: Sequence[Obj], resource: str, container: str = "") -> dict[str, Sample]:
    """What each pod used of a resource, in all its containers or in one. Raises Unmeasured.

    A pod of which one container is not measured is left out.
    """
    if not metrics:
        raise Unmeasured("no metrics returned from resource metrics API")
    found = {}
    for entry in metrics:
        meta = entry["metadata"]
        containers: list[Obj] = entry.get("containers") or []
        if container:
            containers = [c for c in containers if c.get("name") == container]
            if not containers:
                where = f"{meta.get('namespace', '')}/{meta['name']}"
                raise Unmeasured(f"container {container} not present in metrics for pod {where}")
        amounts = [_thousandths((c.get("usage") or {}).get(resource)) for c in containers]
        if not amounts or None in amounts:
            continue
        total = sum(amount for amount in amounts if amount is not None)
        found[meta["name"]] = Sample(total, parse_timestamp(entry["timestamp"]), duration(entry.get("window") or "30s"))
    return found


def _thousandths(text: str | None) -> int | None:
    try:
        return None if text is None else math.ceil(parse_quantity(text) * 1000)
    except InvalidQuantity:
        return None


def duration(text: str) -> dt.timedelta:
    """A duration as Go writes it (`1m30s`, `10.5s`); 0 for anything else."""
    return dt.timedelta(seconds=sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text)))
