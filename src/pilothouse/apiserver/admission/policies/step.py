"""Judges writes by the ValidatingAdmissionPolicies that are bound.

Source of order, actions and messages: Kubernetes' `policy/validating/dispatcher.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.admission.equivalent import Equivalents
from pilothouse.apiserver.admission.exempt import exempt
from pilothouse.apiserver.admission.policies.hooks import Hook, Hooks
from pilothouse.apiserver.admission.policies.link import WorkerLink
from pilothouse.apiserver.admission.policies.params import ConfigurationError, collect
from pilothouse.apiserver.admission.policies.turn import Turn
from pilothouse.apiserver.admission.targets import Targets
from pilothouse.apiserver.chain import AdmissionRequest, Authorizer, ObjectReader
from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.kinds.admissionregistration.validating_admission_policy_binding import ValidatingAdmissionPolicyBinding
from pilothouse.machinery.errors import ApiError, Cause, Forbidden, Invalid, TooLarge, Unauthorized
from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.judge import LONGEST_ANNOTATION, Broken, CompiledPolicy, Result, compiled_policy
from pilothouse.policy.admission.target import Target

_FAILURE_KEY = "validation.policy.admission.k8s.io/validation_failure"
_ERRORS: dict[str, type[ApiError]] = {
    "Forbidden": Forbidden,
    "Unauthorized": Unauthorized,
    "RequestEntityTooLarge": TooLarge,
    "Invalid": Invalid,
}


class _Denied(NamedTuple):
    policy: str
    binding: str
    message: str
    reason: str = "Invalid"


class _Asked:
    """One request's way through the policies."""

    def __init__(self, targets: Targets, turn: Turn) -> None:
        self.targets = targets
        self.turn = turn
        self.denied: list[_Denied] = []


class ValidatingPolicies:
    """The step."""

    def __init__(
        self, objects: ObjectReader, authorizer: Authorizer, equivalents: Equivalents, worker: WorkerLink
    ) -> None:
        self._objects = objects
        self._authorizer = authorizer
        self._equivalents = equivalents
        self._worker = worker
        self._hooks = Hooks(
            objects, ValidatingAdmissionPolicy.resource, ValidatingAdmissionPolicyBinding.resource, compiled_policy
        )

    async def validate(self, request: AdmissionRequest) -> None:
        if exempt(request):
            return
        hooks = self._hooks.current()
        if not hooks:
            return
        turn = Turn(request.user, self._authorizer, self._worker)
        asked = _Asked(Targets(request, self._objects, self._equivalents), turn)
        for hook in hooks:
            await self._ask(hook, asked)
        if asked.denied:
            raise _refusal(request, asked.denied[0])

    async def _ask(self, hook: Hook[CompiledPolicy], asked: _Asked) -> None:
        matched = hook.matched(asked.targets)
        if matched is None:
            return
        if hook.compiled.problems:
            problem = hook.compiled.problems[0]
            if hook.compiled.fails_closed:
                why = f"failed to configure policy: {problem.field}: {problem.report}"
                asked.denied.append(_Denied(hook.name, "", why))
            return
        for binding in hook.bindings(matched.target):
            await self._ask_bound(hook, binding, matched.target, asked)

    async def _ask_bound(self, hook: Hook[CompiledPolicy], binding: Obj, target: Target, asked: _Asked) -> None:
        spec = binding.get("spec") or {}
        request = asked.targets.request
        name: str = binding["metadata"]["name"]
        try:
            found = collect(
                hook.spec.get("paramKind"),
                spec.get("paramRef"),
                request.namespace,
                self._objects,
                self._equivalents.of_kind,
            )
        except ConfigurationError as error:
            if hook.compiled.fails_closed:
                asked.denied.append(_Denied(hook.name, name, f"failed to configure binding: {error}"))
            return
        for params in found:
            result = await asked.turn.judge(hook.policy, hook.compiled, asked.targets.inputs(target, params))
            if result is not None:
                self._act(hook, binding, result, asked)

    def _act(self, hook: Hook[CompiledPolicy], binding: Obj, result: Result, asked: _Asked) -> None:
        """Carries out the binding's actions for what broke."""
        request, name = asked.targets.request, binding["metadata"]["name"]
        actions = (binding.get("spec") or {}).get("validationActions") or ()
        for broken in result.broken:
            if broken.error and not hook.compiled.fails_closed:
                continue
            if "Deny" in actions:
                asked.denied.append(_Denied(hook.name, name, broken.message, broken.reason))
            if "Warn" in actions:
                request.warnings.append(
                    f"Validation failed for ValidatingAdmissionPolicy '{hook.name}' with binding '{name}': "
                    f"{broken.message}"
                )
            if "Audit" in actions:
                _add_failure(request.annotations, _failure(hook, name, actions, broken))
        for key, value in result.annotations:
            _add(request.annotations, f"{hook.name}/{key}", value)


def _failure(hook: Hook[CompiledPolicy], binding: str, actions: Sequence[str], broken: Broken) -> str:
    entry = {
        "message": broken.message,
        "policy": hook.name,
        "binding": binding,
        "expressionIndex": broken.rule,
        "validationActions": list(actions),
    }
    return orjson.dumps(entry).decode()


def _add_failure(annotations: dict[str, str], failure: str) -> None:
    """The annotation is a JSON list; upstream keeps one failure of a request, here are all that fit."""
    before = annotations.get(_FAILURE_KEY, "[]")
    if len(before) + len(failure) <= LONGEST_ANNOTATION or before == "[]":
        annotations[_FAILURE_KEY] = f"{before[:-1]}{',' if before != '[]' else ''}{failure}]"


def _add(annotations: dict[str, str], key: str, value: str) -> None:
    """Values of several bindings stand side by side."""
    before = annotations.get(key)
    if before is None:
        annotations[key] = value
    elif value not in before.split(", "):
        annotations[key] = f"{before}, {value}"


def _refusal(request: AdmissionRequest, denied: _Denied) -> ApiError:
    by = f" with binding '{denied.binding}'" if denied.binding else ""
    message = f"ValidatingAdmissionPolicy '{denied.policy}'{by} denied request: {denied.message}"
    resource = request.resource
    error = _ERRORS.get(denied.reason, Invalid)
    return error(
        f'{refusals.qualified(resource)} "{request.name}" is forbidden: {message}',
        group=resource.group,
        kind=resource.plural,
        name=request.name,
        causes=[Cause("", "", message)],
    )
