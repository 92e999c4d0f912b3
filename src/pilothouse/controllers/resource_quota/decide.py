"""What a quota's status should say. Pure."""

from __future__ import annotations

from pilothouse.kinds.core.quota.amounts import Amounts, amounts
from pilothouse.kinds.core.resource_quota import ResourceQuota
from pilothouse.machinery.objects import Obj


def status_patch(quota: ResourceQuota, used: Amounts) -> Obj:
    """The merge patch of the status; empty when it is right already."""
    wanted = {
        "hard": quota.spec.hard,
        "used": {name: str(used[name]) for name in quota.spec.hard if name in used},
    }
    found = {"hard": quota.status.hard, "used": quota.status.used}
    if all(amounts(wanted[key]) == amounts(found[key]) for key in wanted):
        return {}
    return {key: {**dict.fromkeys(found[key].keys() - wanted[key].keys()), **wanted[key]} for key in wanted}
