"""certificatesigningrequests/approval: conditions such as Approved and Denied, and metadata; nothing else."""

from __future__ import annotations

from pilothouse.apiserver.change import Aspect
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj


def _keep_all_but_conditions(kind: Kind, new: Obj, old: Obj) -> None:
    conditions, metadata = (new.get("status") or {}).get("conditions"), new["metadata"]
    new.clear()
    new.update(old)
    new["metadata"] = metadata
    new["status"] = {**(old.get("status") or {}), "conditions": conditions or []}


APPROVAL = Aspect("approval", _keep_all_but_conditions)
