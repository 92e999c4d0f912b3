"""An Ingress that names no class gets the default one. Source: upstream's admission plugin DefaultIngressClass."""

from __future__ import annotations

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.networking.ingress_class import DEFAULT_CLASS, IngressClass

_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        ingress = request.object
        if request.resource != Ingress.resource or request.operation != "CREATE" or ingress is None:
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or _ANNOTATION in (ingress["metadata"].get("annotations") or {}):
            return
        classes = [
            found["metadata"]
            for found in self._objects.list(IngressClass.resource)
            if (found["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
        ]
        if not classes:
            return
        newest = max(meta.get("creationTimestamp") or "" for meta in classes)
        names = sorted(meta["name"] for meta in classes if (meta.get("creationTimestamp") or "") == newest)
        spec["ingressClassName"] = names[0]
