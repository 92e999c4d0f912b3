"""Pods stay five minutes on a node that is not ready or cannot be reached, unless they say otherwise."""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj

_SECONDS = 300
_KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds:
    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.resource != Pod.resource or request.subresource or pod is None:
            return
        if request.operation not in ("CREATE", "UPDATE"):
            return
        spec = pod.setdefault("spec", {})
        tolerations: list[Obj] = spec.get("tolerations") or []
        missing = [key for key in _KEYS if not any(_speaks_of(toleration, key) for toleration in tolerations)]
        if missing:
            spec["tolerations"] = [
                *tolerations,
                *(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS}
                    for key in missing
                ),
            ]


def _speaks_of(toleration: Obj, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")
