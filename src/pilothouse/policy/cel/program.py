"""A compiled expression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.evaluate import Builder, Frame
from pilothouse.policy.cel.tree import Checked
from pilothouse.policy.cel.types import Type


class Program:
    """An expression ready to be evaluated; `result` is the type it gives, as far as that is known."""

    __slots__ = ("_run", "_slots", "expression", "result")

    def __init__(self, expression: str, checked: Checked) -> None:
        self.expression = expression
        self.result: Type = checked.result
        builder = Builder()
        self._run = builder.build(checked.root)
        self._slots = builder.slots

    def evaluate(self, variables: Mapping[str, Any], budget: Budget) -> Any:
        """The value, of the kinds `values.py` describes; `variables` may be any mapping, and may work lazily.

        Raises EvaluationError for what cannot be evaluated and CostExceeded at a limit. Pure: the same variables give
        the same value, and they are not changed.
        """
        budget.begin()
        return self.evaluate_within(variables, budget)

    def evaluate_within(self, variables: Mapping[str, Any], budget: Budget) -> Any:
        """The value, as part of an expression that is being evaluated: its limit is that one's."""
        try:
            return self._run(Frame(variables, self._slots, budget))
        except RecursionError:
            raise EvaluationError("the values are nested too deeply") from None
