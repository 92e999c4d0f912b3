"""A pod's runtime class exists, and gives the pod its overhead and where it can run.

Source: upstream's admission plugin RuntimeClass.
"""

from __future__ import annotations

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.node.runtime_class import RuntimeClass
from pilothouse.machinery.objects import Obj


class RuntimeClassStep:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.resource != Pod.resource or request.operation != "CREATE" or request.subresource or pod is None:
            return
        spec = pod.setdefault("spec", {})
        name = spec.get("runtimeClassName")
        found: Obj = {}
        if name:
            found = self._objects.get(RuntimeClass.resource, "", name) or {}
            if not found:
                raise forbidden(request, f'pod rejected: RuntimeClass "{name}" not found')
        self._overhead(request, spec, found)
        _scheduling(request, spec, found.get("scheduling") or {})

    def _overhead(self, request: AdmissionRequest, spec: Obj, found: Obj) -> None:
        fixed = (found.get("overhead") or {}).get("podFixed")
        given = spec.get("overhead")
        if given and not fixed:
            raise forbidden(
                request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        if given and given != fixed:
            raise forbidden(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        if fixed:
            spec["overhead"] = dict(fixed)


def _scheduling(request: AdmissionRequest, spec: Obj, scheduling: Obj) -> None:
    selector = scheduling.get("nodeSelector") or {}
    own = spec.get("nodeSelector") or {}
    for key, value in selector.items():
        if own.get(key, value) != value:
            raise forbidden(
                request,
                f"pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}",
            )
    if selector:
        spec["nodeSelector"] = {**own, **selector}
    tolerations = spec.get("tolerations") or []
    extra = [dict(toleration) for toleration in scheduling.get("tolerations") or () if toleration not in tolerations]
    if extra:
        spec["tolerations"] = [*tolerations, *extra]
