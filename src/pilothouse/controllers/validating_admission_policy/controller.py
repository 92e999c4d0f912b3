"""Looks at each policy's expressions with the schemas of the kinds it names, once a generation, and says what is wrong.

Done in a thread: compiling against whole schemas takes some 40 ms a kind.
"""

from __future__ import annotations

import asyncio

from pilothouse.controllers.context import Context
from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.kinds.catalogue import by_resource
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Resource
from pilothouse.policy.admission.typecheck import warnings
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "validatingadmissionpolicy-status-controller"


async def run(context: Context) -> None:
    """Serves policies until cancelled."""
    policies = context.informers.of(ValidatingAdmissionPolicy)
    queue = KeyedQueue()

    def changed(key: str, old: ValidatingAdmissionPolicy | None, new: ValidatingAdmissionPolicy | None) -> None:
        if new is not None and new.status.observed_generation != new.metadata.generation:
            queue.add(key)

    async def reconcile(key: str) -> None:
        policy = policies.get(key)
        if policy is None or policy.status.observed_generation == policy.metadata.generation:
            return
        found = await asyncio.to_thread(warnings, {"spec": policy.spec}, _find)
        checked = {"expressionWarnings": found} if found else {"expressionWarnings": None}
        status = {"observedGeneration": policy.metadata.generation, "typeChecking": checked}
        patch = {"metadata": {"uid": policy.metadata.uid}, "status": status}
        try:
            await context.client.patch(ValidatingAdmissionPolicy, policy.name, None, patch, subresource="status")
        except NotFound:
            return

    await context.informers.synced(ValidatingAdmissionPolicy)
    policies.subscribe(changed)
    await work(NAME, queue, reconcile, workers=1)


def _find(group: str, version: str, plural: str) -> Resource | None:
    kind = by_resource(group, version, plural)
    return None if kind is None else kind.resource
