"""namespaces/finalize: the namespace's own finalizers, taken away by whoever has emptied it."""

from __future__ import annotations

from pilothouse.apiserver.change import Aspect
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj


def _keep_all_but_finalizers(kind: Kind, new: Obj, old: Obj) -> None:
    finalizers = (new.get("spec") or {}).get("finalizers")
    version = new["metadata"].get("resourceVersion")
    new.clear()
    new.update(old)
    new["metadata"] = {**old["metadata"], "resourceVersion": version}
    new["spec"] = {**(old.get("spec") or {}), "finalizers": finalizers or []}


FINALIZE = Aspect("finalize", _keep_all_but_finalizers)
