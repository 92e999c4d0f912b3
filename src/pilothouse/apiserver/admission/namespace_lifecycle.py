"""Nothing is created in a namespace that does not exist or is going away; some namespaces never go.

Source of the rules and messages: upstream's admission plugin NamespaceLifecycle.
"""

from __future__ import annotations

from pilothouse.apiserver import refusals
from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.machinery.errors import Cause

_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        """Changes nothing, but is to refuse before any other step looks things up in the namespace."""
        if request.operation == "DELETE":
            if request.resource == Namespace.resource and request.name in _IMMORTAL:
                raise forbidden(request, "this namespace may not be deleted")
            return
        if request.operation != "CREATE" or request.subresource or not request.resource.namespaced:
            return
        namespace = self._objects.get(Namespace.resource, "", request.namespace)
        if namespace is None:
            raise refusals.not_found(Namespace.resource, request.namespace)
        phase = (namespace.get("status") or {}).get("phase")
        if phase == "Terminating" or namespace["metadata"].get("deletionTimestamp"):
            detail = f"namespace {request.namespace} is being terminated"
            raise forbidden(
                request,
                f"unable to create new content in namespace {request.namespace} because it is being terminated",
                causes=[Cause("metadata.namespace", "NamespaceTerminating", detail)],
            )
