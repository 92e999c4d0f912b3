"""Match conditions: CEL over the review that a webhook would be asked with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pilothouse.machinery.objects import Obj
from pilothouse.policy import cel
from pilothouse.policy.cel.types import BOOL, DYN

_SECONDS: Final = 0.05
"""What all conditions of a webhook may take: they run in the event loop, for every request."""


class ConditionFailed(Exception):
    """A condition could not be evaluated."""


def compile_condition(expression: str) -> cel.Program:
    """Raises CompileError."""
    return cel.compile(expression, {"request": DYN}, (BOOL,))


def all_hold(programs: Sequence[cel.Program], spec: Obj) -> bool:
    """Whether all are true of a review's spec. One that is false decides, even beside one that fails; else raises
    ConditionFailed."""
    budget = cel.Budget(limit=cel.MATCH_CONDITIONS, seconds=_SECONDS)
    failure = ""
    for program in programs:
        try:
            if program.evaluate({"request": spec}, budget) is not True:
                return False
        except (cel.EvaluationError, cel.CostExceeded) as error:
            failure = failure or f"{program.expression}: {error}"
    if failure:
        raise ConditionFailed(failure)
    return True
