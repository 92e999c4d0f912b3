"""One rule of a schema, compiled against the type of what it is about."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from pilothouse.machinery.objects import Obj
from pilothouse.machinery.structural_schema import Structural
from pilothouse.policy.cel import CompileError, Program, compile, types
from pilothouse.policy.cel.schema import Convert, declare
from pilothouse.policy.expressions import identifiers

# The parser is not known to be safe for threads, and rules are compiled off the event loop.
_LOCK = threading.Lock()


class InvalidRule(ValueError):
    """A rule that does not compile; `part` is the field of it that is wrong."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class Rule(NamedTuple):
    """`field_path` is where an error is put, relative to what the rule is about."""

    source: Obj
    program: Program
    message_program: Program | None
    uses_old: bool
    optional_old: bool
    field_path: str

    @property
    def text(self) -> str:
        """How errors name the rule."""
        return (self.source.get("message") or "").strip() or str(self.source.get("rule", "")).strip()

    @property
    def message(self) -> str:
        """What is said when the rule does not hold and has no message of its own making."""
        return (self.source.get("message") or "").strip() or f"failed rule: {self.text}"


class Rules(NamedTuple):
    """The rules of one node of a schema, and how values become CEL values."""

    rules: tuple[Rule | InvalidRule, ...]
    convert: Convert | None


def rules_of(schema: Structural, *, root: bool = False) -> Rules:
    """The rules of a node, compiled when first asked for; those that do not compile stand for themselves."""
    found: Rules | None = schema.compiled.get("rules")
    if found is None:
        with _LOCK:
            declared = declare(schema.source, resource=root)
            compiled = [_compiled(rule, declared.type, declared.messages) for rule in schema.validations]
        found = schema.compiled["rules"] = Rules(tuple(compiled), declared.convert)
        schema.source = {}  # as large as the definition, and needed no more
    return found


def _compiled(source: Obj, self_type: types.Type, messages: bytes) -> Rule | InvalidRule:
    rule, message = source.get("rule") or "", source.get("messageExpression") or ""
    optional = bool(source.get("optionalOldSelf"))
    uses_old = "oldSelf" in identifiers(rule)
    if optional and not uses_old:
        return InvalidRule("rule", "optionalOldSelf may not be set if oldSelf is not used in rule")
    variables = {"self": self_type, "oldSelf": types.optional_of(self_type) if optional else self_type}
    try:
        program = _compile(rule, variables, types.BOOL, messages, "cel expression must evaluate to a bool")
    except CompileError as error:
        return InvalidRule("rule", f"compilation failed: {error}")
    except ValueError as error:
        return InvalidRule("rule", str(error))
    if not message:
        return Rule(source, program, None, uses_old, optional, field_path(source))
    try:
        said = _compile(message, variables, types.STRING, messages, "messageExpression must evaluate to a string")
    except CompileError as error:
        return InvalidRule("messageExpression", f"messageExpression compilation failed: {error}")
    except ValueError as error:
        return InvalidRule("messageExpression", str(error))
    return Rule(source, program, said, uses_old, optional, field_path(source))


def _compile(
    text: str, variables: dict[str, types.Type], wanted: types.Type, messages: bytes, otherwise: str
) -> Program:
    program = compile(text, variables, (), messages)
    if program.result not in (wanted, types.DYN):
        raise ValueError(otherwise)
    return program


def field_path(source: Obj) -> str:
    """A rule's `fieldPath` as fields are named in errors: `.spec['a.b']` is `spec[a.b]`."""
    return "".join(
        f"[{step}]" if bracketed else f".{step}" for step, bracketed in path_steps(source.get("fieldPath") or "")
    ).removeprefix(".")


def path_steps(text: str) -> Iterator[tuple[str, bool]]:
    """The names of a path such as `.spec['a.b']`, and whether each stood in brackets."""
    rest = text.strip()
    while rest:
        if rest.startswith("['") and "']" in rest:
            name, _, rest = rest[2:].partition("']")
            yield name, True
        elif rest.startswith("."):
            length = next((at for at, sign in enumerate(rest[1:], 1) if sign in ".["), len(rest))
            yield rest[1:length], False
            rest = rest[length:]
        else:
            yield rest, False
            return


def is_valid_path(schema: Structural, text: str) -> bool:
    """Whether a `fieldPath` leads to a field the schema knows."""
    node: Any = schema
    for step, _ in path_steps(text):
        node = node.child(step) if isinstance(node, Structural) and step else None
        if node is None:
            return False
    return True
