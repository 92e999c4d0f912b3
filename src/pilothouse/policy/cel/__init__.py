"""Kubernetes' CEL: compiled once, evaluated within a budget.

    program = cel.compile("object.spec.replicas <= 5", {"object": cel.types.DYN}, results=(cel.types.BOOL,))
    program.evaluate({"object": tree}, cel.Budget())

`compile` raises `CompileError` (with the place), `evaluate` `EvaluationError` or `CostExceeded`. Give several programs
the same budget to bound them together. JSON trees are values as they are; for objects with a schema see `schema.py`.
"""

from pilothouse.policy.cel import types
from pilothouse.policy.cel.budget import MATCH_CONDITIONS, PER_EXPRESSION, PER_REQUEST, Budget
from pilothouse.policy.cel.environment import Environment, check, compile
from pilothouse.policy.cel.errors import CompileError, CostExceeded, EvaluationError
from pilothouse.policy.cel.program import Program
from pilothouse.policy.cel.types import Type

__all__ = [
    "MATCH_CONDITIONS",
    "PER_EXPRESSION",
    "PER_REQUEST",
    "Budget",
    "CompileError",
    "CostExceeded",
    "Environment",
    "EvaluationError",
    "Program",
    "Type",
    "check",
    "compile",
    "types",
]
