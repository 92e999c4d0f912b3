"""How much an evaluation may cost.

The unit is upstream's: roughly one field selected or one function called; text counts a tenth of its length. Limits:
`k8s.io/apiserver/pkg/apis/cel/config.go`.
"""

from __future__ import annotations

import time

from pilothouse.policy.cel.errors import CostExceeded, OutputTooLarge, TimeExceeded

PER_EXPRESSION = 1_000_000
"""One expression, evaluated once."""
PER_REQUEST = 10_000_000
"""All rules of a custom resource, or all expressions of one policy, for one request."""
MATCH_CONDITIONS = 2_500_000
"""All match conditions of one policy or webhook, for one request."""
LARGEST_OUTPUT = 4 * 1024 * 1024
"""Characters of a text, or ten times the entries of a list: more than any request body can hold."""

_CLOCK_EVERY = 512


class Budget:
    """A running count, shared by as many evaluations as are to stay within it together.

    `limit` is their cost in all, `per_expression` that of each, `seconds` the time from now until which they may run
    (None: no such limit). Each `begin()` starts another expression.
    """

    __slots__ = ("_deadline", "_looked", "_until", "limit", "per_expression", "spent")

    def __init__(
        self, limit: int = PER_REQUEST, per_expression: int = PER_EXPRESSION, seconds: float | None = None
    ) -> None:
        self.limit = limit
        self.per_expression = per_expression
        self.spent = 0
        self._until = min(limit, per_expression)
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._looked = 0

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left of the whole."""
        return self.spent > self.limit

    def begin(self) -> None:
        """Starts an expression: its own limit counts from here."""
        self._until = min(self.limit, self.spent + self.per_expression)
        self._look()

    def charge(self, cost: int) -> None:
        """Counts. Raises CostExceeded."""
        self.spent += cost
        if self.spent > self._until:
            raise CostExceeded("operation cancelled: actual cost limit exceeded")
        self._looked += 1
        if self._looked >= _CLOCK_EVERY:
            self._look()

    def work(self, steps: int) -> None:
        """Counts what costs nothing upstream but takes time here, towards the next look at the clock."""
        self._looked += steps
        if self._looked >= _CLOCK_EVERY:
            self._look()

    def room_for(self, size: int) -> None:
        """Raises OutputTooLarge for a text that would be longer than any may be."""
        if size > LARGEST_OUTPUT:
            raise OutputTooLarge(f"operation cancelled: the result would exceed {LARGEST_OUTPUT} characters")

    def _look(self) -> None:
        self._looked = 0
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeExceeded("operation cancelled: time limit exceeded")
