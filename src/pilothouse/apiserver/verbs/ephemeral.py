"""pods/ephemeralcontainers: adds containers to a pod that runs, and changes nothing else of it."""

from __future__ import annotations

import copy

from pilothouse.apiserver.change import Aspect
from pilothouse.kinds.core.ephemeral_validation import check_ephemeral_update
from pilothouse.kinds.core.static_pod import MIRROR
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.objects import Obj


def _keep_all_but_them(kind: Kind, new: Obj, old: Obj) -> None:
    """Raises Invalid."""
    wanted = (new.get("spec") or {}).get("ephemeralContainers") or []
    kept = copy.deepcopy(old)
    new.clear()
    new.update(kept)
    if wanted:
        new["spec"]["ephemeralContainers"] = wanted
    else:
        new["spec"].pop("ephemeralContainers", None)
    problems = Problems()
    if MIRROR in (old["metadata"].get("annotations") or {}):
        problems.forbidden("", "static pods do not support ephemeral containers")
    check_ephemeral_update(new["spec"], old["spec"], problems)
    if problems:
        raise invalid_error(kind.resource, new["metadata"]["name"], problems)
    kind.prepare_update(new, old)


EPHEMERAL = Aspect("ephemeralcontainers", _keep_all_but_them, validated=False)
