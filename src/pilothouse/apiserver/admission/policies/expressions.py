"""Expressions of policies and webhooks compile, or are refused when they are written; the last good ones stay in force.

Source of paths and messages: Kubernetes' `pkg/apis/admissionregistration/validation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.kinds.admissionregistration.mutating_admission_policy import MutatingAdmissionPolicy
from pilothouse.kinds.admissionregistration.mutating_webhook_configuration import MutatingWebhookConfiguration
from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.kinds.admissionregistration.validating_webhook_configuration import ValidatingWebhookConfiguration
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.policy.admission import variables
from pilothouse.policy.admission.compiled import Compiled
from pilothouse.policy.admission.judge import compiled_policy
from pilothouse.policy.admission.mutation import compiled_mutations
from pilothouse.policy.cel import CompileError, compile, types

_COMPILED: Mapping[Resource, Callable[[Obj], Compiled]] = {
    ValidatingAdmissionPolicy.resource: compiled_policy,
    MutatingAdmissionPolicy.resource: compiled_mutations,
}
_WEBHOOKS = (MutatingWebhookConfiguration.resource, ValidatingWebhookConfiguration.resource)


class CompiledExpressions:
    """The step."""

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.object, request.old_object
        if new is None or request.subresource:
            return
        problems = Problems()
        if (compiled := _COMPILED.get(request.resource)) is not None:
            if old is None or old.get("spec") != new.get("spec"):
                for problem in compiled(new).problems:
                    problems.invalid(f"spec.{problem.field}", problem.expression, problem.report)
        elif request.resource in _WEBHOOKS and (old is None or old.get("webhooks") != new.get("webhooks")):
            for path, text, report in condition_problems(new.get("webhooks") or ()):
                problems.invalid(path, text, report)
        if problems:
            raise invalid_error(request.resource, request.name, problems)


def condition_problems(webhooks: Sequence[Obj]) -> Iterator[tuple[str, str, str]]:
    """Match conditions that do not compile: path, text, report."""
    declared = variables.declarations(params=False, authorizer=True, namespace=False)
    for at, webhook in enumerate(webhooks):
        for index, condition in enumerate(webhook.get("matchConditions") or ()):
            text = condition.get("expression") or ""
            try:
                compile(text, declared, (types.BOOL,), variables.messages())
            except CompileError as error:
                yield f"webhooks[{at}].matchConditions[{index}].expression", text, f"compilation failed: {error}"
