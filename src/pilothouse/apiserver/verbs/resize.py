"""pods/resize: another amount of CPU and memory for a pod that runs."""

from __future__ import annotations

import copy

from pilothouse.apiserver.change import Aspect
from pilothouse.kinds.core.pod_resize import check_resize, take_resources
from pilothouse.kinds.core.static_pod import MIRROR
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.objects import Obj


def _keep_all_but_resources(kind: Kind, new: Obj, old: Obj) -> None:
    """Raises Invalid."""
    wanted = new.get("spec") or {}
    kept = copy.deepcopy(old)
    take_resources(kept["spec"], wanted)
    new.clear()
    new.update(kept)
    problems = Problems()
    if MIRROR in (old["metadata"].get("annotations") or {}):
        problems.forbidden("", "static pods cannot be resized")
    check_resize(new["spec"], old["spec"], problems)
    if problems:
        raise invalid_error(kind.resource, new["metadata"]["name"], problems)
    kind.prepare_update(new, old)


RESIZE = Aspect("resize", _keep_all_but_resources, validated=False)
