"""Changes what is written by the MutatingAdmissionPolicies that are bound.

Source of order and messages: Kubernetes' `policy/mutating/dispatcher.go`. Policies run by name, each for every binding
that means the request and each of its parameters; a policy that changed something has the steps before run again, and
those policies before it whose reinvocationPolicy is IfNeeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from pilothouse.apiserver import refusals
from pilothouse.apiserver.admission.equivalent import Equivalents
from pilothouse.apiserver.admission.exempt import exempt
from pilothouse.apiserver.admission.policies.hooks import Hook, Hooks
from pilothouse.apiserver.admission.policies.link import WorkerLink
from pilothouse.apiserver.admission.policies.params import ConfigurationError, collect
from pilothouse.apiserver.admission.policies.turn import Turn
from pilothouse.apiserver.admission.rewrite import rewrite
from pilothouse.apiserver.admission.targets import Matched, Targets
from pilothouse.apiserver.chain import AdmissionRequest, Authorizer, ObjectReader
from pilothouse.kinds.admissionregistration.mutating_admission_policy import MutatingAdmissionPolicy
from pilothouse.kinds.admissionregistration.mutating_admission_policy_binding import MutatingAdmissionPolicyBinding
from pilothouse.machinery.apply.configuration import InvalidConfiguration, merged
from pilothouse.machinery.errors import ApiError, Cause, Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.patch.json_patch import json_patch
from pilothouse.policy.admission.mutation import APPLY, CONDITIONS, CompiledMutations, compiled_mutations


class Mutator(Protocol):
    async def mutate(self, request: AdmissionRequest) -> None: ...


class _Failed(Exception):
    """A policy that could not be carried out."""


class MutatingPolicies:
    """The step; `again` are the steps before it."""

    def __init__(
        self,
        objects: ObjectReader,
        authorizer: Authorizer,
        equivalents: Equivalents,
        worker: WorkerLink,
        again: Sequence[Mutator],
    ) -> None:
        self._objects = objects
        self._authorizer = authorizer
        self._equivalents = equivalents
        self._worker = worker
        self._again = again
        self._hooks = Hooks(
            objects, MutatingAdmissionPolicy.resource, MutatingAdmissionPolicyBinding.resource, compiled_mutations
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        hooks = self._meant(request)
        if not hooks:
            return
        changing = self._changing(request)
        invoked: list[str] = []
        due: set[str] = set()
        for hook in hooks:
            if await changing.apply(hook):
                due.update(invoked)
            if hook.compiled.reinvocable:
                invoked.append(hook.name)
        if not changing.rewritten:
            return
        for step in self._again:
            await step.mutate(request)
        for hook in hooks:
            if hook.name in due:
                await changing.apply(hook)

    async def reinvoke(self, request: AdmissionRequest) -> None:
        """Runs those once more that want to be, after a webhook changed the object."""
        changing = self._changing(request)
        for hook in self._meant(request):
            if hook.compiled.reinvocable:
                await changing.apply(hook)

    def _meant(self, request: AdmissionRequest) -> list[Hook[CompiledMutations]]:
        """All policies; none for what has no object or is not asked about."""
        if request.object is None or request.operation == "CONNECT":
            return []
        hooks = self._hooks.current()
        return [] if not hooks or exempt(request) else hooks

    def _changing(self, request: AdmissionRequest) -> _Changing:
        return _Changing(request, self._objects, self._equivalents, Turn(request.user, self._authorizer, self._worker))


class Reinvoked:
    """As a step that runs again: only the policies that want to be asked twice."""

    def __init__(self, policies: MutatingPolicies) -> None:
        self._policies = policies

    async def mutate(self, request: AdmissionRequest) -> None:
        await self._policies.reinvoke(request)


class _Changing:
    """One request's way through the policies."""

    def __init__(self, request: AdmissionRequest, objects: ObjectReader, equivalents: Equivalents, turn: Turn) -> None:
        self._request = request
        self._objects = objects
        self._equivalents = equivalents
        self._turn = turn
        self._targets = Targets(request, objects, equivalents)
        self.rewritten = False

    async def apply(self, hook: Hook[CompiledMutations]) -> bool:
        """Carries out a policy; whether that changed anything. Raises Invalid when it fails and fails closed."""
        matched = hook.matched(self._targets)
        if matched is None:
            return False
        changed = False
        if hook.compiled.problems:
            problem = hook.compiled.problems[0]
            self._fail(hook, "", f"failed to configure policy: {problem.field}: {problem.report}")
            return False
        for binding in hook.bindings(matched.target):
            try:
                for params in self._params(hook, binding):
                    if await self._apply_with(hook, binding["metadata"]["name"], params):
                        changed = True
            except ConfigurationError as error:
                self._fail(hook, binding["metadata"]["name"], str(error))
        self.rewritten = self.rewritten or changed
        return changed

    def _params(self, hook: Hook[CompiledMutations], binding: Obj) -> Iterator[Obj | None]:
        try:
            yield from collect(
                hook.spec.get("paramKind"),
                (binding.get("spec") or {}).get("paramRef"),
                self._request.namespace,
                self._objects,
                self._equivalents.of_kind,
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"failed to configure binding: {error}") from None

    async def _apply_with(self, hook: Hook[CompiledMutations], binding: str, params: Obj | None) -> bool:
        """One after another, each for the object as those before left it; one that fails, where that is let through,
        does not keep the others."""
        changed, spent = False, 0
        for stage in range(CONDITIONS, len(hook.compiled.mutations)):
            matched = hook.matched(self._targets)
            if matched is None:
                return changed
            inputs = self._targets.inputs(matched.target, params)
            outcome = await self._turn.mutation(hook.policy, hook.compiled, stage, inputs, spent)
            spent = outcome.spent
            if outcome.error:
                self._fail(hook, binding, outcome.error)
            if stage == CONDITIONS:
                if not outcome.value:
                    return False
            elif not outcome.error:
                try:
                    if self._rewrite(hook.compiled.mutations[stage].kind, matched, outcome.value):
                        changed = True
                except _Failed as error:
                    self._fail(hook, binding, str(error))
        return changed

    def _rewrite(self, kind: str, matched: Matched, patch: Any) -> bool:
        shown = matched.target.object
        assert shown is not None
        try:
            made = self._merged(matched, shown, patch) if kind == APPLY else json_patch(shown, patch)
            return rewrite(self._request, made if matched.back is None else matched.back(made))
        except InvalidConfiguration as error:
            raise _Failed(str(error)) from None
        except ApiError as error:
            raise _Failed(error.message) from None

    def _merged(self, matched: Matched, shown: Obj, configuration: Obj) -> Obj:
        schema = self._equivalents.schema(matched.target.resource)
        if schema is None:
            raise _Failed(f"{matched.target.resource.kind} has no schema to apply by; use a JSONPatch")
        return merged(schema.root, shown, configuration)

    def _fail(self, hook: Hook[CompiledMutations], binding: str, why: str) -> None:
        if not hook.compiled.fails_closed:
            return
        by = f" with binding '{binding}'" if binding else ""
        message = f"policy '{hook.name}'{by} denied request: {why}"
        request, resource = self._request, self._request.resource
        raise Invalid(
            f'{refusals.qualified(resource)} "{request.name}" is forbidden: {message}',
            group=resource.group,
            kind=resource.plural,
            name=request.name,
            causes=[Cause("", "", message)],
        )
