"""A pod's priority comes from its class, never from its writer. Source: upstream's admission plugin Priority."""

from __future__ import annotations

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.scheduling.priority_class import PriorityClass
from pilothouse.machinery.objects import Obj

_DEFAULT_POLICY = "PreemptLowerPriority"


class Priority:
    """Fills in `priority` and `preemptionPolicy`; allows one class at most to be the default."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._known: tuple[int, Obj | None] = (-1, None)
        """The default, as of a revision of the classes."""

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.resource != Pod.resource or request.operation != "CREATE" or request.subresource or pod is None:
            return
        spec = pod.setdefault("spec", {})
        found = self._class_of(request, spec.get("priorityClassName") or "")
        value, policy = 0, _DEFAULT_POLICY
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
            value, policy = found.get("value") or 0, found.get("preemptionPolicy") or policy
        for field, computed in (("priority", value), ("preemptionPolicy", policy)):
            given = spec.get(field)
            if given is not None and given != computed:
                raise forbidden(
                    request,
                    f"spec.{field} ({given}) must not be provided: {computed} is what its PriorityClass gives it",
                )
            spec[field] = computed

    def _class_of(self, request: AdmissionRequest, name: str) -> Obj | None:
        if not name:
            return self._default()
        found = self._objects.get(PriorityClass.resource, "", name)
        if found is None:
            raise forbidden(request, f"no PriorityClass with name {name} was found")
        return found

    def _default(self) -> Obj | None:
        """Of several (made at the same moment), the one with the lowest value, as upstream."""
        revision = self._objects.revision(PriorityClass.resource)
        if self._known[0] != revision:
            classes = [found for found in self._objects.list(PriorityClass.resource) if found.get("globalDefault")]
            self._known = revision, min(classes, key=lambda found: found.get("value") or 0, default=None)
        return self._known[1]

    async def validate(self, request: AdmissionRequest) -> None:
        written = request.object
        if request.resource != PriorityClass.resource or written is None or not written.get("globalDefault"):
            return
        other = self._default()
        if other is not None and other["metadata"]["name"] != request.name:
            raise forbidden(
                request,
                f"PriorityClass {other['metadata']['name']} is already marked as default. Only one default can exist",
            )
