"""What `x-kubernetes-validations` of a schema must be like."""

from __future__ import annotations

from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural_schema import Structural


def check_rules(schema: Obj, built: Structural, path: str, problems: Problems) -> None:
    """Reports rules that cannot be honoured."""
    if built.validated:
        problems.forbidden(f"{path}.x-kubernetes-validations", "CEL rules are not evaluated by this version")
