"""A compiled MutatingAdmissionPolicy, and what it would make of one request.

Source of order and limits: Kubernetes' policy plugin (`mutating/dispatcher.go` and `mutating/patch`). An expression is
evaluated for the object as the ones before it left it, so they are asked for one by one; what to make of the values is
up to whoever knows the kind's schema.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from pilothouse.machinery.objects import Obj
from pilothouse.policy.admission import variables
from pilothouse.policy.admission.compiled import Compiled, Problem
from pilothouse.policy.admission.conditions import ConditionError, evaluated
from pilothouse.policy.admission.variables import Bindings, Inputs
from pilothouse.policy.cel import MATCH_CONDITIONS, PER_REQUEST, Budget, CompileError, EvaluationError, Program, compile
from pilothouse.policy.cel.checks import error_at
from pilothouse.policy.cel.fields import Struct
from pilothouse.policy.cel.library.authorizer import Decide
from pilothouse.policy.cel.made import JSON_PATCHES, OBJECT, Prepared, as_json, prepare
from pilothouse.policy.cel.schema import joined
from pilothouse.policy.cel.types import DYN, list_of

APPLY, JSON_PATCH = "ApplyConfiguration", "JSONPatch"
_PARTS = {APPLY: ("applyConfiguration", (OBJECT,)), JSON_PATCH: ("jsonPatch", (JSON_PATCHES, list_of(DYN)))}
"""Where a patch of a type has its expression, and what that may give."""
CONDITIONS = -1
"""The stage before all mutations."""
_COST_SPENT = "mutation failed due to running out of cost budget, no further mutations will be run"


class Outcome(NamedTuple):
    """What a stage gave: whether the conditions hold, or what a mutation's expression made, as JSON; `spent` is the
    cost so far; with an `error` there is no value."""

    value: Any
    spent: int = 0
    error: str = ""


class Mutation(NamedTuple):
    """One expression, and whether it gives an apply configuration or a JSON patch."""

    kind: str
    program: Program


class CompiledMutations(Compiled):
    """A policy's expressions."""

    def __init__(self, policy: Obj) -> None:
        super().__init__(policy)
        self.reinvocable = self.spec.get("reinvocationPolicy") == "IfNeeded"
        self.mutations: list[Mutation] = []
        for index, entry in enumerate(self.spec.get("mutations") or ()):
            kind = entry.get("patchType") or ""
            part, results = _PARTS.get(kind, _PARTS[APPLY])
            text = (entry.get(part) or {}).get("expression") or ""
            prepared = prepare(text)
            try:
                program = compile(
                    prepared.text, self.declared, results, joined(variables.messages(), prepared.messages)
                )
            except CompileError as error:
                report = f"compilation failed: {_placed(error, prepared, text)}"
                self.problems.append(Problem(f"mutations[{index}].{part}.expression", text, report))
            else:
                self.mutations.append(Mutation(kind, program))

    def run(self, stage: int, inputs: Inputs, decide: Decide, seconds: float, spent: int = 0) -> Outcome:
        """One stage: `CONDITIONS`, or the mutation of that index. `spent` is what the mutations before it cost. Raises
        TimeExceeded after `seconds`, and whatever `decide` raises (`Unanswered`)."""
        if stage == CONDITIONS:
            budget = Budget(MATCH_CONDITIONS, seconds=seconds)
            try:
                return Outcome(self.conditions.hold(Bindings(inputs, decide, {}, budget), budget))
            except ConditionError as error:
                return Outcome(None, error=str(error))
        budget = Budget(PER_REQUEST - spent, seconds=seconds)
        kind, program = self.mutations[stage]
        try:
            value = evaluated(program, Bindings(inputs, decide, self.variables, budget), budget)
            return Outcome(_as_patch(kind, value), spent + budget.spent)
        except EvaluationError as error:
            return Outcome(None, spent + budget.spent, _COST_SPENT if budget.exhausted else str(error))


def _as_patch(kind: str, value: Any) -> Any:
    if kind == APPLY and not (isinstance(value, Struct) and value.type == OBJECT.name):
        raise EvaluationError("an apply configuration must be an Object")
    if kind == JSON_PATCH and not (isinstance(value, list) and all(isinstance(entry, Struct) for entry in value)):
        raise EvaluationError("a JSON patch must be a list of JSONPatch")
    if kind == APPLY:
        return as_json(value)
    # What a patch puts somewhere is an object of its own, whose type need not go on from that of the patch.
    return [{name: as_json(part) for name, part in entry.items()} for entry in value]


def _placed(error: CompileError, prepared: Prepared, text: str) -> str:
    """The report, with the place in the expression as it was written."""
    lines = prepared.text.split("\n")[: error.line - 1]
    position = sum(len(line) + 1 for line in lines) + error.column - 1
    reason = str(error).split("\n", 1)[0].partition(f":{error.line}:{error.column}: ")[2]
    return str(error_at(reason or str(error), text, min(prepared.position(position), len(text))))


def compiled_mutations(policy: Obj) -> CompiledMutations:
    """A policy's expressions, compiled once for what it says."""
    return _compiled(orjson.dumps(policy.get("spec")))


@lru_cache(maxsize=128)
def _compiled(spec: bytes) -> CompiledMutations:
    return CompiledMutations({"spec": orjson.loads(spec)})
