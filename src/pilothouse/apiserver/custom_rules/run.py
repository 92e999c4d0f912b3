"""Runs the rules of a schema over an object, within one budget.

Source: `apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`. A rule that could not be evaluated refuses the
object; so do rules that were not reached. On an update, what has not changed is not judged anew (ratcheting), but by
rules about the change itself.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from pilothouse.apiserver.custom_rules.rule import InvalidRule, Rule, rules_of
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.errors import Cause
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural_schema import ABSENT, Structural
from pilothouse.machinery.structural_validate import ROOT, correlated, type_name
from pilothouse.policy.cel import Budget, CostExceeded, EvaluationError
from pilothouse.policy.cel.schema import Convert
from pilothouse.policy.cel.values import Optional

SECONDS: Final = 2.0
"""The most that all rules of an object may take, off the event loop, whatever they cost."""
_LONGEST_MESSAGE: Final = 5120
_REASONS: Final = {
    "FieldValueRequired": "Required value: {message}",
    "FieldValueForbidden": "Forbidden: {message}",
    "FieldValueDuplicate": "Duplicate value: {value}",
}


def check_object(schema: Structural, obj: Obj, old: Obj | None, problems: Problems) -> None:
    """Reports the rules that `obj`, or replacing `old` by it, breaks."""
    run = _Run(problems, Budget(seconds=SECONDS))
    run.visit(schema, obj, ABSENT if old is None else old, "")


class _Run:
    def __init__(self, problems: Problems, budget: Budget) -> None:
        self._problems = problems
        self._budget = budget
        self._ended = False

    def visit(self, schema: Structural, value: Any, old: Any, path: str) -> None:
        if value is None or not schema.validated or self._ended:
            return
        if schema.validations:
            self._rules(schema, value, old, path)
        if isinstance(value, dict):
            prefix = f"{path}." if path else ""
            for name, item in value.items():
                child = schema.properties.get(name)
                where = prefix + name
                if child is None:
                    child, where = schema.additional, f"{path}[{name}]"
                if child is not None:
                    before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
                    self.visit(child, item, before, where)
        elif isinstance(value, list) and schema.items is not None:
            for index, (item, before) in enumerate(zip(value, correlated(schema, value, old))):
                self.visit(schema.items, item, before, f"{path}[{index}]")

    def _rules(self, schema: Structural, value: Any, old: Any, path: str) -> None:
        compiled = rules_of(schema, root=not path)
        unchanged = old is not ABSENT and old == value
        for rule in compiled.rules:
            if self._ended:
                return
            if isinstance(rule, InvalidRule):
                self._invalid(path, value, f"rule {rule.part}: {rule}")
            elif rule.uses_old and not rule.optional_old and (old is ABSENT or old is None):
                continue
            elif rule.uses_old or not unchanged:
                self._rule(rule, _variables(rule, value, old, compiled.convert), value, path)

    def _rule(self, rule: Rule, variables: dict[str, Any], value: Any, path: str) -> None:
        try:
            holds = rule.program.evaluate(variables, self._budget)
        except CostExceeded as error:
            what = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule:"
            if self._budget.exhausted:
                what = "validation failed due to running out of cost budget, no further validation rules will be run:"
            self._invalid(path, value, f"{what} {rule.text}")
            self._ended = True
            return
        except EvaluationError as error:
            self._invalid(path, value, f"{error} evaluating rule: {rule.text}")
            return
        if holds is True:
            return
        self._broken(rule, value, path, self._message(rule, variables))

    def _message(self, rule: Rule, variables: dict[str, Any]) -> str:
        if rule.message_program is None:
            return rule.message
        try:
            said = rule.message_program.evaluate(variables, self._budget)
        except (CostExceeded, EvaluationError):
            return rule.message
        usable = isinstance(said, str) and said.strip() and "\n" not in said and len(said.encode()) <= _LONGEST_MESSAGE
        return said.strip() if usable else rule.message

    def _broken(self, rule: Rule, value: Any, path: str, message: str) -> None:
        where = path
        if rule.field_path:
            joined = f"{path}{rule.field_path}" if rule.field_path.startswith("[") else f"{path}.{rule.field_path}"
            where = joined if path else rule.field_path
        reason = rule.source.get("reason") or "FieldValueInvalid"
        shown = orjson.dumps(type_name(value)).decode()
        form = _REASONS.get(reason, "Invalid value: {value}: {message}")
        self._problems.append(Cause(where or ROOT, reason, form.format(value=shown, message=message)))

    def _invalid(self, path: str, value: Any, message: str) -> None:
        shown = orjson.dumps(type_name(value)).decode()
        self._problems.append(Cause(path or ROOT, "FieldValueInvalid", f"Invalid value: {shown}: {message}"))


def _variables(rule: Rule, value: Any, old: Any, convert: Convert | None) -> dict[str, Any]:
    def converted(given: Any) -> Any:
        return given if convert is None else convert(given)

    found = {"self": converted(value)}
    if rule.uses_old:
        present = old is not ABSENT and old is not None
        before = converted(old) if present else None
        found["oldSelf"] = Optional(before, present) if rule.optional_old else before
    return found
