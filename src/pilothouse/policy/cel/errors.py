"""What goes wrong with an expression."""

from __future__ import annotations


class CompileError(ValueError):
    """The text is no expression, or its types do not fit.

    `str()` is what the API shows: one block for each problem, `ERROR: <input>:LINE:COLUMN: what`, with the line and a
    caret below, as cel-go writes it. `line` and `column` are those of the first problem, from 1; 0 when not known.
    """

    def __init__(self, text: str, line: int = 0, column: int = 0) -> None:
        super().__init__(text)
        self.line = line
        self.column = column


class EvaluationError(Exception):
    """An expression could not be evaluated for these values: `no such key: a`, `division by zero`, …"""


class CostExceeded(Exception):
    """Evaluation was ended by a limit: of cost, of size or of time. Never swallowed by `||` or `&&`."""


class TimeExceeded(CostExceeded):
    """The limit was time."""


class OutputTooLarge(CostExceeded):
    """The limit was the size of a text or list that the expression would make."""
