"""Match conditions: a policy or webhook means a request only if all of them hold.

Source: Kubernetes documentation, "Matching requests: matchConditions". One that is false outweighs errors in others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission import variables
from pilothouse.policy.cel import Budget, CompileError, CostExceeded, EvaluationError, Program, Type, compile, types
from pilothouse.policy.cel.errors import TimeExceeded

_COST_SPENT = "validation failed due to running out of cost budget, no further validation rules will be run"


class ConditionError(Exception):
    """Conditions could not be evaluated, and none was false."""


class Conditions:
    """Compiled conditions. Raises CompileError."""

    def __init__(self, entries: Sequence[Obj], declared: Mapping[str, Type]) -> None:
        self._programs: list[Program] = []
        for index, entry in enumerate(entries):
            try:
                self._programs.append(compile(entry["expression"], declared, (types.BOOL,), variables.messages()))
            except CompileError as error:
                raise CompileError(f"matchConditions[{index}].expression: {error}", error.line, error.column) from None

    def __bool__(self) -> bool:
        return bool(self._programs)

    def hold(self, bindings: Mapping[str, object], budget: Budget) -> bool:
        """Whether all hold. Raises ConditionError, TimeExceeded."""
        errors = []
        for program in self._programs:
            try:
                if evaluated(program, bindings, budget) is not True:
                    return False
            except EvaluationError as error:
                errors.append(str(error))
            if budget.exhausted:
                raise ConditionError(_COST_SPENT)
        if errors:
            raise ConditionError(", ".join(errors) if len(errors) == 1 else f"[{', '.join(errors)}]")
        return True


def evaluated(program: Program, bindings: Mapping[str, object], budget: Budget) -> object:
    """An expression's value. Raises EvaluationError in upstream's wording (for the cost limit too), TimeExceeded."""
    try:
        return program.evaluate(bindings, budget)
    except TimeExceeded:
        raise
    except (EvaluationError, CostExceeded) as error:
        raise EvaluationError(f"expression '{program.expression}' resulted in error: {error}") from None
