"""The guard's place in admission: hands it what the API server knows of a write, and carries out what it says."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial

from pilothouse.apiserver.admission.exempt import exempt
from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.guard.door.door import Around, Door, account_of
from pilothouse.guard.door.settings import wrong_labels
from pilothouse.guard.effective import container_limits
from pilothouse.guard.finding import Ref
from pilothouse.guard.findings.model import home
from pilothouse.kinds.core.limit_range import LimitRange
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.objects import Obj

ANNOTATION, NOT_CHECKED = "guard.pilothouse.dev/findings", "guard.pilothouse.dev/not-checked"
_WRITES = ("CREATE", "UPDATE")


class GuardDoor:
    """A validating step of admission."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._door: Door | None = None
        self._opening: asyncio.Task[Door] | None = None

    async def open(self) -> Door:
        """The checks, compiled in a thread. What they are about waits for them: nothing gets past a door not yet there;
        reads and what the engine writes of its own accord do not."""
        if self._door is None:
            if self._opening is None:
                self._opening = asyncio.create_task(asyncio.to_thread(Door))
            self._door = await asyncio.shield(self._opening)
        return self._door

    async def prepare(self) -> None:
        """Compiles ahead what most objects take, leaving the event loop to others in between."""
        for _ in (await self.open()).prepare():
            await asyncio.sleep(0)

    async def validate(self, request: AdmissionRequest) -> None:
        new = request.object
        if new is None or request.operation not in _WRITES or request.subresource:
            return
        if request.resource == Namespace.resource:
            _check_labels(request, new)
        if exempt(request):
            return
        door = self._door or await self.open()
        if not door.concerns(new, request.old_object):
            return
        outcome = door.judge(
            new,
            request.old_object,
            partial(self._around, request),
            request.namespace,
            dt.datetime.now(dt.UTC),
        )
        if outcome.annotation:
            request.annotations[ANNOTATION] = outcome.annotation
        if outcome.not_checked:
            request.annotations[NOT_CHECKED] = ",".join(outcome.not_checked)
        if outcome.refusal:
            raise forbidden(request, outcome.refusal)
        request.warnings.extend(outcome.warnings)

    def _around(self, request: AdmissionRequest, tree: Obj) -> Around:
        namespace = request.namespace
        if request.resource == Namespace.resource:
            return Around((tree.get("metadata") or {}).get("labels") or {}, [], {}, self._exemptions(request))
        found = self._objects.get(Namespace.resource, "", namespace) if namespace else None
        labels = ((found or {}).get("metadata") or {}).get("labels") or {}
        account = account_of(tree)
        limits: list[Obj] = []
        mounts: dict[str, bool] = {}
        if account:
            ranges = self._objects.list(LimitRange.resource, namespace)
            limits = [entry for limit_range in ranges for entry in container_limits(limit_range)]
            held = self._objects.get(ServiceAccount.resource, namespace, account) or {}
            if isinstance(held.get("automountServiceAccountToken"), bool):
                mounts[account] = held["automountServiceAccountToken"]
        return Around(labels, limits, mounts, self._exemptions(request))

    def _exemptions(self, request: AdmissionRequest) -> list[Exemption]:
        resource = request.resource
        ref = Ref(resource.api_version, resource.kind, request.namespace, request.name)
        held = self._objects.list(Exemption.resource, home(ref))
        return [from_tree(Exemption, tree) for tree in held]


def _check_labels(request: AdmissionRequest, namespace: Obj) -> None:
    """Raises Invalid for labels of the guard that mean nothing."""
    problems = Problems()
    for name, value, known in wrong_labels((namespace.get("metadata") or {}).get("labels") or {}):
        problems.unsupported(f"metadata.labels[{name}]", value, known)
    if problems:
        raise invalid_error(request.resource, request.name, problems)
