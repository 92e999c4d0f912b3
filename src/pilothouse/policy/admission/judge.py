"""A compiled ValidatingAdmissionPolicy, and what it says about one request.

Source of order, messages and limits: Kubernetes' policy plugin (`validating/validator.go`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission.compiled import Compiled
from pilothouse.policy.admission.conditions import ConditionError, evaluated
from pilothouse.policy.admission.variables import Bindings, Inputs
from pilothouse.policy.cel import MATCH_CONDITIONS, Budget, EvaluationError, Program, types
from pilothouse.policy.cel.library.authorizer import Decide

LONGEST_MESSAGE = 5 * 1024
LONGEST_ANNOTATION = 10 * 1024
COST_SPENT = "validation failed due to running out of cost budget, no further validation rules will be run"


class Broken(NamedTuple):
    """A rule that does not hold, or (`error`) that could not be evaluated. `rule` is its index in the policy."""

    rule: int
    message: str
    reason: str = "Invalid"
    error: bool = False


class Result(NamedTuple):
    """What a policy says. `annotations` are for the audit log; the errors of those count as rules that broke."""

    broken: tuple[Broken, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


class _Rule(NamedTuple):
    program: Program
    message: Program | None
    text: str
    reason: str


class CompiledPolicy(Compiled):
    """A policy's expressions."""

    def __init__(self, policy: Obj) -> None:
        super().__init__(policy)
        self._rules = list(self._of_rules(self.spec.get("validations") or (), self.declared))
        quiet = {name: kind for name, kind in self.declared.items() if not name.startswith("authorizer")}
        self._annotations: list[tuple[str, Program]] = []
        for index, entry in enumerate(self.spec.get("auditAnnotations") or ()):
            field, text = f"auditAnnotations[{index}].valueExpression", entry.get("valueExpression") or ""
            program = self.program(field, text, quiet, types.STRING, types.NULL)
            if program is not None:
                self._annotations.append((entry["key"], program))

    def _of_rules(self, entries: Sequence[Obj], declared: dict[str, types.Type]) -> Iterator[_Rule]:
        quiet = {name: kind for name, kind in declared.items() if not name.startswith("authorizer")}
        for index, entry in enumerate(entries):
            text = entry.get("expression") or ""
            program = self.program(f"validations[{index}].expression", text, declared, types.BOOL)
            telling = entry.get("messageExpression") or ""
            field = f"validations[{index}].messageExpression"
            message = self.program(field, telling, quiet, types.STRING) if telling else None
            if program is not None:
                yield _Rule(program, message, entry.get("message") or "", entry.get("reason") or "Invalid")

    def judge(self, inputs: Inputs, decide: Decide, seconds: float) -> Result | None:
        """What the policy says; None when its conditions do not hold.

        Errors count as broken rules, whatever the failure policy is. Raises TimeExceeded after `seconds`, and whatever
        `decide` raises (`Unanswered`).
        """
        until = time.monotonic() + seconds
        budget = Budget(MATCH_CONDITIONS, seconds=seconds)
        if self.conditions:
            bindings = Bindings(inputs, decide, {}, budget)
            try:
                if not self.conditions.hold(bindings, budget):
                    return None
            except ConditionError as error:
                return Result((Broken(0, str(error), error=True),))
        budget = Budget(seconds=until - time.monotonic())
        bindings = Bindings(inputs, decide, self.variables, budget)
        broken = [found for found in self._broken(bindings, budget) if found is not None]
        annotations, failed = self._annotated(inputs, decide, until)
        return Result((*broken, *failed), annotations)

    def _broken(self, bindings: Bindings, budget: Budget) -> Iterator[Broken | None]:
        for index, rule in enumerate(self._rules):
            try:
                held = evaluated(rule.program, bindings, budget) is True
            except EvaluationError as error:
                yield Broken(index, COST_SPENT if budget.exhausted else str(error), error=True)
                if budget.exhausted:
                    return
                continue
            if not held:
                yield Broken(index, _message(rule, bindings, budget), rule.reason)

    def _annotated(
        self, inputs: Inputs, decide: Decide, until: float
    ) -> tuple[tuple[tuple[str, str], ...], list[Broken]]:
        if not self._annotations:
            return (), []
        budget = Budget(seconds=until - time.monotonic())
        bindings = Bindings(inputs, decide, self.variables, budget)
        found: list[tuple[str, str]] = []
        failed: list[Broken] = []
        for key, program in self._annotations:
            try:
                value = evaluated(program, bindings, budget)
            except EvaluationError as error:
                failed.append(Broken(0, str(error), error=True))
                continue
            if isinstance(value, str) and value.strip():
                found.append((key, value.strip()[:LONGEST_ANNOTATION]))
            elif value is not None and not isinstance(value, str):
                failed.append(Broken(0, _unsupported(program, value), error=True))
        return tuple(found), failed


def compiled_policy(policy: Obj) -> CompiledPolicy:
    """A policy's expressions, compiled once for what it says: to check it when it is written, and to judge by it."""
    return _compiled(orjson.dumps(policy.get("spec")))


@lru_cache(maxsize=128)
def _compiled(spec: bytes) -> CompiledPolicy:
    return CompiledPolicy({"spec": orjson.loads(spec)})


def _unsupported(program: Program, value: Any) -> str:
    return (
        f"valueExpression '{program.expression}' resulted in unsupported return type: {type(value).__name__}. "
        "Return type must be either string or null."
    )


def _message(rule: _Rule, bindings: Bindings, budget: Budget) -> str:
    """What is said of a broken rule: the message expression's one line, else the message, else the rule."""
    if rule.message is not None:
        try:
            found = evaluated(rule.message, bindings, budget)
        except EvaluationError:
            found = ""
        text = found.strip() if isinstance(found, str) else ""
        if text and "\n" not in text and len(text.encode()) <= LONGEST_MESSAGE:
            return text
    return rule.text.strip() or f"failed expression: {rule.program.expression.strip()}"
