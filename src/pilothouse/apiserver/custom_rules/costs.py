"""What the rules of a definition can cost, added up while it is looked at.

Source: `apiextensions-apiserver/pkg/apis/apiextensions/validation`: a rule's estimate, times how often what it is about
can occur in one object, is bounded; so is the sum of all rules of a schema.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pilothouse.apiserver.custom_rules.rule import Rule
from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj
from pilothouse.policy.cel import check, types
from pilothouse.policy.cel.estimate import estimate
from pilothouse.policy.cel.schema import declare
from pilothouse.policy.cel.sizes import shape_of

RULE_LIMIT: Final = 10_000_000
SCHEMA_LIMIT: Final = 100_000_000
_NAMED: Final = 4
"""The dearest rules that are named when all together are too dear."""
_HINT: Final = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
    " declared)"
)


class _Dear(NamedTuple):
    cost: int
    path: str


class Costs:
    """Those of one schema."""

    def __init__(self) -> None:
        self._total = 0
        self._dearest: list[_Dear] = []

    def add(
        self, rules: list[tuple[str, Rule]], source: Obj, occurrences: int | None, problems: Problems, *, root: bool
    ) -> None:
        """Adds the rules of one node, with their paths, and reports those that are too dear. `occurrences` is how many
        of such values an object can have, None when only its size bounds them."""
        declared, shape = declare(source, resource=root), shape_of(source, resource=root)
        times = occurrences if occurrences is not None else (1 if shape is None else shape.cardinality)
        for path, rule in rules:
            old = types.optional_of(declared.type) if rule.optional_old else declared.type
            variables = {"self": declared.type, "oldSelf": old}
            for field, what in (("rule", "rule"), ("messageExpression", "messageExpression")):
                text = rule.source.get(field)
                if text:
                    cost = estimate(check(text, variables, declared.messages), shape) * times
                    self._note(cost, f"{path}.{field}", f"estimated {what} cost", problems)

    def _note(self, cost: int, path: str, what: str, problems: Problems) -> None:
        if cost > RULE_LIMIT:
            problems.forbidden(path, _over(what, cost, RULE_LIMIT))
        self._total += cost
        if cost >= SCHEMA_LIMIT // 100:
            self._dearest.append(_Dear(cost, path))

    def check(self, path: str, problems: Problems) -> None:
        """Reports, at the schema's path, rules that are too dear together."""
        if self._total <= SCHEMA_LIMIT:
            return
        for entry in sorted(self._dearest, reverse=True)[:_NAMED]:
            why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            problems.forbidden(entry.path, why)
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        problems.forbidden(path, _over(what, self._total, SCHEMA_LIMIT))


def _over(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    if factor > 100:
        shown = "more than 100x"
    elif factor < 1.5:
        shown = f"{factor:f}x"
    else:
        shown = f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} {_HINT}"
