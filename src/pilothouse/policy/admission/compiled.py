"""What validating and mutating policies have in common: conditions, variables, and expressions that compile or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission import variables
from pilothouse.policy.admission.conditions import Conditions
from pilothouse.policy.cel import CompileError, Program, compile, types


class Problem(NamedTuple):
    """An expression that does not compile: the field's path below `spec`, its text and the compiler's report."""

    field: str
    expression: str
    report: str


class Compiled:
    """A policy's conditions and variables. `problems` holds expressions that do not compile; with any, the policy must
    not be evaluated."""

    def __init__(self, policy: Obj) -> None:
        self.spec: Obj = policy.get("spec") or {}
        self.fails_closed = (self.spec.get("failurePolicy") or "Fail") == "Fail"
        self.problems: list[Problem] = []
        has_params = bool(self.spec.get("paramKind"))
        self.declared = variables.declarations(params=has_params, authorizer=True)
        self.conditions = self._of_conditions(self.spec.get("matchConditions") or ())
        self.variables: dict[str, Program] = {}
        for index, entry in enumerate(self.spec.get("variables") or ()):
            program = self.program(f"variables[{index}].expression", entry.get("expression") or "", self.declared)
            if program is not None:
                self.variables[entry["name"]] = program
                self.declared[f"variables.{entry['name']}"] = program.result

    def program(self, field: str, text: str, declared: dict[str, types.Type], *results: types.Type) -> Program | None:
        """An expression's program; None, and a problem, when it does not compile."""
        try:
            return compile(text, declared, results, variables.messages())
        except CompileError as error:
            self.problems.append(Problem(field, text, f"compilation failed: {error}"))
        return None

    def _of_conditions(self, entries: Sequence[Obj]) -> Conditions:
        fine = []
        for index, entry in enumerate(entries):
            if self.program(f"matchConditions[{index}].expression", entry["expression"], self.declared, types.BOOL):
                fine.append(entry)
        return Conditions(fine, self.declared)
