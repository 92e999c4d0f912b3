"""One policy's programs, and the bindings they are evaluated with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cel_expr_python import cel

from pilothouse.machinery.objects import Obj
from pilothouse.policy.expressions import LIVE_ONLY, identifiers, put_in_place, variables_of
from pilothouse.policy.load import InvalidPolicy, Policy, Validation
from pilothouse.policy.match import only_by_kind
from pilothouse.policy.verdict import EvaluationError, Violation

BROKEN, PASSES, NOT_MEANT = "broken", "passes", "not meant"
"""How an answer begins."""


class Scope:
    """One object's bindings: the trees as given, and shared variables evaluated once for all policies."""

    def __init__(self, env: cel.Env, programs: Mapping[str, cel.Expression], tree: Obj, shared: Sequence[str]) -> None:
        self._env = env
        self._data: dict[str, Any] = {"object": tree, "oldObject": None, "namespaceObject": None, "params": None}
        self.failed: set[str] = set()
        if shared:
            plain = env.Activation(self._data)
            values = {}
            for name in shared:
                result = programs[name].eval(plain)
                if result.type() == cel.Type.ERROR:
                    self.failed.add(name)  # lazily evaluated, it may not be needed: policies evaluate it themselves
                else:
                    values[name] = result.plain_value()
            self._data |= values
        self._activation = env.Activation(self._data)

    def with_params(self, params: Obj | None) -> cel.Activation:
        """The bindings, with a policy's parameters."""
        return self._activation if params is None else self._env.Activation(self._data | {"params": params})


class Compiled:
    """One policy's programs: rules at once, what only a violation needs when it is needed."""

    def __init__(self, env: cel.Env, policy: Policy, shared: Mapping[str, str], sound: bool) -> None:
        self.policy = policy
        self.by_kind_only = only_by_kind(policy.constraints)
        """The kind alone decides whether an object is meant."""
        self._env = env
        self._whole = written_out(policy)
        self._short = _shortened(policy, self._whole, shared)
        used = {
            name
            for expression in (*self._main(), *self._telling())
            for variable in variables_of(expression)
            for name in identifiers(self._short.get(variable, ""))
        }
        self.shared = used & set(shared.values())
        self.live_only = sorted(
            {
                name
                for expression in (*self._main(), *self._whole.values())
                for name in identifiers(expression) & {*LIVE_ONLY, "namespaceObject"}
            }
        )
        one_rule = len(policy.validations) == 1
        self.simple = one_rule and self.by_kind_only and not self.live_only and not policy.param_kind
        """It has one rule, and an object is all it takes to evaluate it."""
        self._compiled: dict[tuple[str, bool], cel.Expression] = {}
        if not self.live_only and not (sound and self.simple):
            for expression in self._main():
                self._program(expression, short=True)

    def answer(self) -> str:
        """An expression that gives a list: PASSES, NOT_MEANT, or BROKEN with message and audit annotations."""
        (rule,) = self.policy.validations
        conditions = [f"({put_in_place(entry.expression, self._short)})" for entry in self.policy.conditions]
        telling = [rule.message_expression or "''", *(entry.expression for entry in self.policy.audit)]
        told = ", ".join(put_in_place(text, self._short) for text in telling)
        met, right = " && ".join(conditions) or "true", put_in_place(rule.expression, self._short)
        return f"(({met}) ? (({right}) ? ['{PASSES}'] : ['{BROKEN}', {told}]) : ['{NOT_MEANT}'])"

    def told(self, answer: Sequence[str]) -> Violation:
        """The violation that an answer tells."""
        (rule,) = self.policy.validations
        message, *values = answer
        audit = {entry.name: value or "" for entry, value in zip(self.policy.audit, values)}  # null means none
        return Violation(self.policy, message or _said_plainly(rule), audit)

    def judge(self, scope: Scope, params: Obj | None) -> list[Violation] | None:
        """The rules broken, None if the policy does not mean the object. Raises EvaluationError."""
        if self.live_only:
            raise EvaluationError(f"not evaluated: {', '.join(self.live_only)} is known only to a live request")
        if self.policy.param_kind and params is None:
            raise EvaluationError(f"not evaluated: needs parameters ({self.policy.param_kind}), none were given")
        short = not self.shared & scope.failed
        activation = scope.with_params(params)
        if not self._meant(activation, short):
            return None
        broken = [rule for rule in self.policy.validations if not self._true(rule.expression, activation, short)]
        return [self._violation(rule, activation, short) for rule in broken]

    def _meant(self, activation: cel.Activation, short: bool) -> bool:
        """Whether all conditions hold; one that is false outweighs errors in others, as the standard has it."""
        errors = []
        for condition in self.policy.conditions:
            try:
                if not self._true(condition.expression, activation, short):
                    return False
            except EvaluationError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return True

    def _main(self) -> list[str]:
        conditions = [entry.expression for entry in self.policy.conditions]
        return conditions + [entry.expression for entry in self.policy.validations]

    def _telling(self) -> list[str]:
        """The expressions that only a violation needs."""
        messages = [entry.message_expression for entry in self.policy.validations]
        return messages + [entry.expression for entry in self.policy.audit]

    def _program(self, expression: str, short: bool) -> cel.Expression:
        key = expression, short
        if key not in self._compiled:
            try:
                text = put_in_place(expression, self._short if short else self._whole)
                self._compiled[key] = self._env.compile(text)
            except (InvalidPolicy, RuntimeError) as error:
                raise InvalidPolicy(f"{self.policy.name}: {expression}: {error}") from error
        return self._compiled[key]

    def _true(self, expression: str, activation: cel.Activation, short: bool) -> bool:
        result = self._program(expression, short).eval(activation)
        if result.type() != cel.Type.BOOL:
            raise EvaluationError(_said(result, expression))
        return result.plain_value() is True

    def _text(self, expression: str, activation: cel.Activation, short: bool) -> str:
        """A text, "" for null and for what cannot be evaluated (upstream falls back likewise)."""
        result = self._program(expression, short).eval(activation)
        return str(result.plain_value()) if result.type() == cel.Type.STRING else ""

    def _violation(self, rule: Validation, activation: cel.Activation, short: bool) -> Violation:
        message = self._text(rule.message_expression, activation, short) if rule.message_expression else ""
        audit = {entry.name: self._text(entry.expression, activation, short) for entry in self.policy.audit}
        return Violation(self.policy, message or _said_plainly(rule), audit)


def _shortened(policy: Policy, whole: Mapping[str, str], shared: Mapping[str, str]) -> dict[str, str]:
    """The policy's variables by name, those that others have too by the name they are bound to."""
    found: dict[str, str] = {}
    for variable in policy.variables:
        text = whole[variable.name]
        found[variable.name] = shared[text] if text in shared else put_in_place(variable.expression, found)
    return found


def _said_plainly(rule: Validation) -> str:
    return rule.message or f"failed expression: {rule.expression}"


def _said(result: cel.Value, expression: str) -> str:
    if result.type() == cel.Type.ERROR:
        return f"evaluation error: {str(result.value()).partition(': ')[2] or result.value()}"
    return f"evaluation error: {expression} gives {result.type().name()}, not a bool"


def written_out(policy: Policy) -> dict[str, str]:
    """The policy's variables by name, with the variables they read put in place."""
    found: dict[str, str] = {}
    for variable in policy.variables:
        try:
            found[variable.name] = put_in_place(variable.expression, found)
        except InvalidPolicy as error:
            raise InvalidPolicy(f"{policy.name}: variable {variable.name}: {error}") from error
    return found
