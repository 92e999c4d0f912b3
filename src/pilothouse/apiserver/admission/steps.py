"""The visible list of admission steps, and the chain that runs them: first all that change, then all that check, and
last (when the kind's own rules have passed too) those that hold something for the write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from pilothouse.apiserver.admission.certificates import CertificateRequester, CertificateRights
from pilothouse.apiserver.admission.claim_resize import ClaimResize
from pilothouse.apiserver.admission.equivalent import Equivalents
from pilothouse.apiserver.admission.exemptions import ExemptionRequester, ExemptionRights
from pilothouse.apiserver.admission.external_addresses import ExternalAddresses
from pilothouse.apiserver.admission.ingress_class import DefaultIngressClass
from pilothouse.apiserver.admission.limit_ranger import LimitRanger
from pilothouse.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from pilothouse.apiserver.admission.node_restriction import NodeRestriction
from pilothouse.apiserver.admission.pod_security.step import PodSecurity
from pilothouse.apiserver.admission.policies.expressions import CompiledExpressions
from pilothouse.apiserver.admission.policies.link import WorkerLink
from pilothouse.apiserver.admission.policies.mutating import MutatingPolicies, Reinvoked
from pilothouse.apiserver.admission.policies.step import ValidatingPolicies
from pilothouse.apiserver.admission.priority import Priority
from pilothouse.apiserver.admission.resource_quota.step import ResourceQuotaStep
from pilothouse.apiserver.admission.runtime_class import RuntimeClassStep
from pilothouse.apiserver.admission.service_account import ServiceAccountStep
from pilothouse.apiserver.admission.storage_class import DefaultStorageClass
from pilothouse.apiserver.admission.toleration_seconds import DefaultTolerationSeconds
from pilothouse.apiserver.admission.topology_labels import PodTopologyLabels
from pilothouse.apiserver.admission.webhooks.call import WebhookClient
from pilothouse.apiserver.admission.webhooks.step import MutatingWebhooks, Reach, ValidatingWebhooks
from pilothouse.apiserver.authorization.escalation import Escalation
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import AdmissionRequest, Authorizer, ObjectReader
from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.kinds.catalogue import KINDS
from pilothouse.store.store import Store


class Mutator(Protocol):
    """A step that may change `request.object`."""

    async def mutate(self, request: AdmissionRequest) -> None: ...


class Validator(Protocol):
    """A step that only looks. Raises an `ApiError` to refuse."""

    async def validate(self, request: AdmissionRequest) -> None: ...


class Reserver(Protocol):
    """The last step: holds what a write takes of something scarce while it is stored."""

    def reserved(self, request: AdmissionRequest) -> AbstractAsyncContextManager[None]:
        """Entering raises an `ApiError` to refuse."""


class Closes(Protocol):
    """Something that is to be closed at the end."""

    async def close(self) -> None: ...


class AdmissionChain:
    """The chain's `Admission`."""

    def __init__(
        self,
        mutators: Sequence[Mutator],
        validators: Sequence[Validator],
        reservers: Sequence[Reserver] = (),
        closes: Sequence[Closes] = (),
    ) -> None:
        self._mutators = mutators
        self._validators = validators
        self._reservers = reservers
        self._closes = closes

    async def mutate(self, request: AdmissionRequest) -> None:
        for mutator in self._mutators:
            await mutator.mutate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        for validator in self._validators:
            await validator.validate(request)

    async def admit(self, request: AdmissionRequest) -> None:
        await self.mutate(request)
        await self.validate(request)

    @asynccontextmanager
    async def reserved(self, request: AdmissionRequest) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for reserver in self._reservers:
                await stack.enter_async_context(reserver.reserved(request))
            yield

    async def close(self) -> None:
        for held in self._closes:
            await held.close()


def standard_chain(
    store: Store,
    objects: ObjectReader,
    authorizer: Authorizer,
    index: RbacIndex,
    extra: Sequence[Validator] = (),
    last: Sequence[Mutator] = (),
) -> AdmissionChain:
    """The steps every API server runs, in order. NamespaceLifecycle comes first: nothing else matters in a namespace
    that is going away. What users bring comes last: it sees what the others made of the object. `extra` are steps of
    parts that this room does not know (the guard); `last` those of them that change what is written, after all else
    has: what they write is what is stored."""
    lifecycle, priority, runtime_class = NamespaceLifecycle(objects), Priority(objects), RuntimeClassStep(objects)
    limit_ranger = LimitRanger(objects)
    equivalents, worker = Equivalents(ServedKinds(KINDS, store)), WorkerLink()
    webhooks = Reach(objects, authorizer, equivalents, worker, WebhookClient(objects))
    mutators: list[Mutator] = [
        lifecycle,
        limit_ranger,
        ServiceAccountStep(objects),
        priority,
        DefaultTolerationSeconds(),
        PodTopologyLabels(objects),
        runtime_class,
        DefaultStorageClass(objects),
        DefaultIngressClass(objects),
        CertificateRequester(),
        ExemptionRequester(),
    ]
    before = tuple(mutators)
    policies = MutatingPolicies(objects, authorizer, equivalents, worker, before)
    mutators += [policies, MutatingWebhooks(webhooks, (*before, Reinvoked(policies))), *last]
    validators: list[Validator] = [
        NodeRestriction(objects),
        PodSecurity(objects),
        Escalation(index, authorizer),
        CertificateRights(authorizer),
        ExemptionRights(authorizer),
        ExternalAddresses(objects),
        ClaimResize(objects),
        priority,
        limit_ranger,
        *extra,
        CompiledExpressions(),
        ValidatingPolicies(objects, authorizer, equivalents, worker),
        ValidatingWebhooks(webhooks),
    ]
    return AdmissionChain(mutators, validators, [ResourceQuotaStep(store)], [worker, webhooks.client])
