"""Asks webhooks: those that may change the object one after another, then those that only look, all at once.

Source of order, messages and annotations: Kubernetes' `webhook/mutating` and `webhook/validating` dispatchers.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.admission.equivalent import Equivalents
from pilothouse.apiserver.admission.exempt import exempt
from pilothouse.apiserver.admission.policies.link import WorkerLink
from pilothouse.apiserver.admission.policies.turn import Turn
from pilothouse.apiserver.admission.rewrite import rewrite
from pilothouse.apiserver.admission.targets import Matched, Targets
from pilothouse.apiserver.admission.webhooks.call import CallFailed, WebhookClient
from pilothouse.apiserver.admission.webhooks.hooks import Hook, Hooks
from pilothouse.apiserver.admission.webhooks.review import Answer, InvalidAnswer, Rejection, read_answer, request_body
from pilothouse.apiserver.chain import AdmissionRequest, Authorizer, ObjectReader
from pilothouse.kinds.admissionregistration.mutating_webhook_configuration import MutatingWebhookConfiguration
from pilothouse.kinds.admissionregistration.validating_webhook_configuration import ValidatingWebhookConfiguration
from pilothouse.machinery.errors import ApiError, BadRequest, Cause, Forbidden, InternalError
from pilothouse.machinery.patch.json_patch import json_patch
from pilothouse.policy.admission.target import selected

log = logging.getLogger(__name__)

_WITHOUT_EFFECTS = ("None", "NoneOnDryRun")


class Mutator(Protocol):
    async def mutate(self, request: AdmissionRequest) -> None: ...


class Reach(NamedTuple):
    """What asking takes."""

    objects: ObjectReader
    authorizer: Authorizer
    equivalents: Equivalents
    worker: WorkerLink
    client: WebhookClient


class MutatingWebhooks:
    """The step. When a webhook changed something, `again` (the steps before this one) run once more, and so do those
    webhooks before it whose reinvocationPolicy is IfNeeded."""

    def __init__(self, reach: Reach, again: Sequence[Mutator]) -> None:
        self._reach = reach
        self._again = again
        self._hooks = Hooks(reach.objects, MutatingWebhookConfiguration.resource)

    async def mutate(self, request: AdmissionRequest) -> None:
        hooks = self._hooks.current()
        if not hooks or exempt(request):
            return
        asking = _Asking(self._reach, request, mutating=True)
        invoked: list[tuple[str, str]] = []
        due: set[tuple[str, str]] = set()
        for hook in hooks:
            matched = await asking.means(hook)
            if matched is None:
                continue
            if await asking.change(hook, matched, 0):
                due.update(invoked)
            if hook.reinvocable:
                invoked.append(hook.key)
        if not asking.rewritten:
            return
        for step in self._again:
            await step.mutate(request)
        for hook in hooks:
            matched = await asking.means(hook) if hook.key in due else None
            if matched is not None:
                await asking.change(hook, matched, 1)


class ValidatingWebhooks:
    """The step."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._hooks = Hooks(reach.objects, ValidatingWebhookConfiguration.resource)

    async def validate(self, request: AdmissionRequest) -> None:
        hooks = self._hooks.current()
        if not hooks or exempt(request):
            return
        asking = _Asking(self._reach, request, mutating=False)
        meant = [(hook, matched) for hook in hooks if (matched := await asking.means(hook)) is not None]
        answers = await asyncio.gather(
            *(asking.ask(hook, matched, 0) for hook, matched in meant), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer


class _Asking:
    """One request's way through webhooks."""

    def __init__(self, reach: Reach, request: AdmissionRequest, *, mutating: bool) -> None:
        self._reach = reach
        self._request = request
        self._mutating = mutating
        self.rewritten = False
        self._kind = "mutation" if mutating else "validating"
        self._targets = Targets(request, reach.objects, reach.equivalents)
        self._turn = Turn(request.user, reach.authorizer, reach.worker)

    async def means(self, hook: Hook) -> Matched | None:
        """The request in the version the webhook wants it in; None when it is not asked. Raises Forbidden."""
        webhook = hook.webhook
        matched = self._targets.match(webhook.get("rules") or (), webhook.get("matchPolicy") or "Equivalent")
        if matched is None:
            return None
        matched = matched._replace(target=self._targets.with_labels(matched.target, [webhook]))
        try:
            if not selected(webhook, matched.target):
                return None
        except ValueError:
            return None  # the kind's validation lets no such selector in
        if hook.conditions is None:
            return matched
        policy, compiled = hook.conditions
        result = await self._turn.judge(policy, compiled, self._targets.inputs(matched.target))
        if result is None or (result.broken and hook.fails_open):
            return None
        if result.broken:
            raise self._forbidden(result.broken[0].message)
        return matched

    def _forbidden(self, why: str) -> Forbidden:
        request, resource = self._request, self._request.resource
        return Forbidden(
            f'{refusals.qualified(resource)} "{request.name}" is forbidden: {why}',
            group=resource.group,
            kind=resource.plural,
            name=request.name,
        )

    async def change(self, hook: Hook, matched: Matched, turn: int) -> bool:
        """Asks a webhook and carries out its patch; whether it changed anything."""
        answer = await self.ask(hook, matched, turn)
        changed = answer is not None and bool(answer.patch) and self._apply(hook, matched, answer)
        self._annotate(f"mutation.webhook.admission.k8s.io/round_{turn}_index_{hook.index}", hook, mutated=changed)
        return changed

    def _annotate(self, key: str, hook: Hook, *, mutated: bool) -> None:
        entry = {"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated}
        self._request.annotations[key] = orjson.dumps(entry).decode()

    def _apply(self, hook: Hook, matched: Matched, answer: Answer) -> bool:
        request, shown = self._request, matched.target.object
        if request.object is None or shown is None:
            why = "attempted to modify the object, which is not supported for this operation"
            raise InternalError(f'Internal error occurred: admission webhook "{hook.name}" {why}')
        try:
            made = json_patch(shown, answer.patch)
        except ApiError as error:
            raise InternalError(f"Internal error occurred: {error}") from None
        if matched.back is not None:
            made = matched.back(made)
        changed = rewrite(request, made)
        self.rewritten = self.rewritten or changed
        return changed

    async def ask(self, hook: Hook, matched: Matched, turn: int) -> Answer | None:
        """What a webhook says yes with; None when it failed and may. Raises Rejection, InternalError, BadRequest."""
        request = self._request
        if request.dry_run and hook.webhook.get("sideEffects") not in _WITHOUT_EFFECTS:
            raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        uid = str(uuid.uuid4())
        body = request_body(hook.webhook, uid, self._targets.value(matched.target), matched.target)
        try:
            answer = read_answer(await self._reach.client.post(hook, body), hook.webhook, uid, mutating=self._mutating)
        except CallFailed as error:
            self._failed(hook, turn, str(error))
            return None
        except InvalidAnswer as error:
            self._failed(hook, turn, f"received invalid webhook response: {error}")
            return None
        request.annotations.update({f"{hook.name}/{key}": text for key, text in answer.annotations.items()})
        request.warnings.extend(answer.warnings)
        if not answer.allowed:
            raise Rejection(hook.name, answer.status)
        return answer

    def _failed(self, hook: Hook, turn: int, why: str) -> None:
        """Raises InternalError, unless the webhook fails open."""
        told = f'failed calling webhook "{hook.name}": {why}'
        if not hook.fails_open:
            log.warning("%s", told)
            raise InternalError(f"Internal error occurred: {told}", causes=[Cause("", "", told)])
        log.warning("%s; its failure policy lets the request through", told)
        key = f"failed-open.{self._kind}.webhook.admission.k8s.io/round_{turn}_index_{hook.index}"
        self._request.annotations[key] = hook.name
