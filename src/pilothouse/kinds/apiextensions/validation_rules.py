"""What `x-kubernetes-validations` of a schema must be like, the expressions themselves apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pilothouse.kinds.problems import Problems
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural_schema import Structural

_KEY: Final = "x-kubernetes-validations"
_REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_LINE_BREAK: Final = re.compile(r"[\n\r]")
_TEXTS: Final = ("rule", "message", "messageExpression", "reason", "fieldPath")


def check_rules(schema: Obj, built: Structural, path: str, problems: Problems) -> None:
    """Reports rules that are incomplete or say things twice."""
    if not built.validated:
        return
    for index, rule in enumerate(schema.get(_KEY) or ()):
        place = f"{path}.{_KEY}[{index}]"
        if not isinstance(rule, dict) or not all(isinstance(rule.get(key, ""), str) for key in _TEXTS):
            problems.invalid(place, rule, "must be a rule")
        else:
            _check_rule(rule, place, problems)
    for where, child, child_built in _inner(schema, built):
        check_rules(child, child_built, f"{path}.{where}", problems)


def _check_rule(rule: Obj, path: str, problems: Problems) -> None:
    text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not text:
        problems.required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        problems.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif _LINE_BREAK.search(message.strip()):
        problems.invalid(f"{path}.message", message, "message must not contain line breaks")
    elif _LINE_BREAK.search(text) and not message.strip():
        problems.required(f"{path}.message", "message must be specified if rule contains line breaks")
    expression, reason, field = (rule.get(key) or "" for key in ("messageExpression", "reason", "fieldPath"))
    if expression and not expression.strip():
        problems.required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    if reason and reason not in _REASONS:
        problems.unsupported(f"{path}.reason", reason, _REASONS)
    if field and not field.strip():
        problems.invalid(f"{path}.fieldPath", field, "fieldPath must be non-empty if specified")
    if _LINE_BREAK.search(field):
        problems.invalid(f"{path}.fieldPath", field, "fieldPath must not contain line breaks")


def _inner(schema: Obj, built: Structural) -> Iterator[tuple[str, Any, Structural]]:
    for name, child in built.properties.items():
        yield f"properties[{name}]", schema["properties"][name], child
    if built.items is not None:
        yield "items", schema["items"], built.items
    if built.additional is not None and isinstance(schema.get("additionalProperties"), dict):
        yield "additionalProperties", schema["additionalProperties"], built.additional
