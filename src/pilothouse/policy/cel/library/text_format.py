"""`'%s and %d'.format([a, b])`. Source: cel-go `ext/formatting.go`."""

from __future__ import annotations

import math
import re
from typing import Any

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs, times
from pilothouse.policy.cel.library.conversions import double_text
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import Duration, Timestamp, TypeValue, UInt, items_of, type_name

_VERB = re.compile(r"%(?:(%)|(\.[0-9]{1,4})?(.?))", re.DOTALL)
_DEEPEST = 32


@function("string.format(list(A)) -> string", cost=lambda text, args: costs.traverse(text) + costs.tree(args) // 10)
def _(budget: Budget, text: str, args: list[Any]) -> str:
    budget.work(len(args))
    found: list[str] = []
    size = at = used = 0
    for verb in _VERB.finditer(text):
        found.append(text[at : verb.start()])
        at = verb.end()
        if verb[1]:
            found.append("%")
            continue
        if not verb[3]:
            raise EvaluationError("unexpected end of string")
        if used >= len(args):
            raise EvaluationError(f"index {used} out of range")
        found.append(_formatted(verb[3], args[used], int(verb[2][1:]) if verb[2] else 6))
        size += len(found[-1])
        budget.room_for(size)
        used += 1
    return "".join([*found, text[at:]])


def _formatted(verb: str, value: Any, precision: int) -> str:
    if verb == "s":
        return plain(value)
    if verb == "d":
        return _decimal(value)
    if verb in "fe" and type(value) in (int, UInt, float):
        number = float(value)
        if math.isnan(number) or math.isinf(number):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(number)]
        return f"{number:.{precision}{verb}}"
    if verb == "b" and type(value) in (int, UInt, bool):
        return f"{value:b}"
    if verb == "o" and type(value) in (int, UInt):
        return f"{value:o}"
    if verb in "xX":
        return _hexadecimal(verb, value)
    if verb in "sdfeboxX":
        raise EvaluationError(f"error during formatting: {_needs(verb)}, was given {type_name(value)}")
    raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')


def _needs(verb: str) -> str:
    if verb == "b":
        return "only integers and bools can be formatted as binary"
    if verb == "o":
        return "octal clause can only be used on integers"
    return f"{'fixed-point' if verb == 'f' else 'scientific'} clause can only be used on doubles"


def _decimal(value: Any) -> str:
    if type(value) in (int, UInt):
        return str(int(value))
    if type(value) is float and (math.isnan(value) or math.isinf(value)):
        return plain(value)
    raise EvaluationError(
        f"error during formatting: decimal clause can only be used on integers, was given {type_name(value)}"
    )


def _hexadecimal(verb: str, value: Any) -> str:
    if type(value) in (int, UInt):
        return f"{value:{verb}}"
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return value.hex() if verb == "x" else value.hex().upper()
    raise EvaluationError(
        "error during formatting: only integers, byte buffers, and strings can be formatted as hex, was given "
        + type_name(value)
    )


def plain(value: Any, depth: int = 0) -> str:
    """A value as `%s` shows it. Raises EvaluationError."""
    if depth > _DEEPEST:
        raise EvaluationError("error during formatting: nested too deeply")
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) in (int, UInt):
        return str(int(value))
    if isinstance(value, float):
        return {"NaN": "NaN", "+Inf": "Infinity", "-Inf": "-Infinity"}.get(text := double_text(value), text)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Timestamp):
        return times.timestamp_text(value)
    if isinstance(value, Duration):
        return times.seconds_text(value)
    if isinstance(value, TypeValue):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(plain(entry, depth + 1) for entry in value)}]"
    if isinstance(value, dict):
        shown = sorted((plain(key), plain(entry, depth + 1)) for key, entry in items_of(value))
        return f"{{{', '.join(f'{key}: {entry}' for key, entry in shown)}}}"
    raise EvaluationError(
        "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists,"
        f" types, durations, and timestamps, was given {type_name(value)}"
    )
