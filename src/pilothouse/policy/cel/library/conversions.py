"""Conversions between types. Source: the CEL specification, "Standard definitions", and cel-go for the texts."""

from __future__ import annotations

import math
import re
from typing import Any

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs, times
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import INT_MAX, INT_MIN, NANOS, UINT_MAX, Duration, Timestamp, UInt, integer, unsigned

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf(?:inity)?)|nan", re.ASCII | re.I
)


@function(":bool(bool) -> bool", ":bytes(bytes) -> bytes", ":double(double) -> double", known=True)
def _(budget: Budget, value: Any) -> Any:
    return value


@function(":int(int) -> int", ":string(string) -> string", ":uint(uint) -> uint", known=True)
def _(budget: Budget, value: Any) -> Any:
    return value


@function(":timestamp(timestamp) -> timestamp", ":duration(duration) -> duration", known=True)
def _(budget: Budget, value: Any) -> Any:
    return value


@function(":bool(string) -> bool", known=True)
def _(budget: Budget, text: str) -> bool:
    if text in ("true", "True", "TRUE", "t", "1"):
        return True
    if text in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvaluationError(f"type conversion error from 'string' to 'bool': {text}")


@function(":bytes(string) -> bytes", cost=costs.traverse, known=True)
def _(budget: Budget, text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@function(":string(bytes) -> string", cost=costs.traverse, known=True)
def _(budget: Budget, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


@function(":double(int) -> double", ":double(uint) -> double", known=True)
def _(budget: Budget, value: int) -> float:
    return float(value)


@function(":double(string) -> double", known=True)
def _(budget: Budget, text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise EvaluationError(f"type conversion error from 'string' to 'double': {text}")
    return float(text)


@function(":int(double) -> int", known=True)
def _(budget: Budget, value: float) -> int:
    if not INT_MIN < value < INT_MAX:
        raise EvaluationError("integer overflow")
    return int(value)


@function(":int(uint) -> int", known=True)
def _(budget: Budget, value: UInt) -> int:
    return integer(int(value))


@function(":int(string) -> int", known=True)
def _(budget: Budget, text: str) -> int:
    if not _INTEGER.fullmatch(text) or not INT_MIN <= int(text) <= INT_MAX:
        raise EvaluationError(f"type conversion error from 'string' to 'int': {text}")
    return int(text)


@function(":int(timestamp) -> int", known=True)
def _(budget: Budget, moment: Timestamp) -> int:
    return moment.nanos // NANOS


@function(":int(duration) -> int", known=True)
def _(budget: Budget, length: Duration) -> int:
    return length.nanos


@function(":uint(int) -> uint", known=True)
def _(budget: Budget, value: int) -> UInt:
    return unsigned(value)


@function(":uint(double) -> uint", known=True)
def _(budget: Budget, value: float) -> UInt:
    if not 0 <= value < UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


@function(":uint(string) -> uint", known=True)
def _(budget: Budget, text: str) -> UInt:
    if not re.fullmatch(r"[0-9]{1,40}", text, re.ASCII) or int(text) > UINT_MAX:
        raise EvaluationError(f"type conversion error from 'string' to 'uint': {text}")
    return UInt(text)


@function(":string(int) -> string", ":string(uint) -> string", known=True)
def _(budget: Budget, value: int) -> str:
    return str(int(value))


@function(":string(bool) -> string", known=True)
def _(budget: Budget, value: bool) -> str:
    return "true" if value else "false"


@function(":string(double) -> string", known=True)
def _(budget: Budget, value: float) -> str:
    return double_text(value)


@function(":string(timestamp) -> string", known=True)
def _(budget: Budget, moment: Timestamp) -> str:
    return times.timestamp_text(moment)


@function(":string(duration) -> string", known=True)
def _(budget: Budget, length: Duration) -> str:
    return times.seconds_text(length)


@function(":timestamp(string) -> timestamp", known=True)
def _(budget: Budget, text: str) -> Timestamp:
    return times.parse_timestamp(text)


@function(":timestamp(int) -> timestamp", known=True)
def _(budget: Budget, seconds: int) -> Timestamp:
    return Timestamp.of(seconds * NANOS)


@function(":duration(string) -> duration", known=True)
def _(budget: Budget, text: str) -> Duration:
    return times.parse_duration(text)


def double_text(value: float) -> str:
    """The shortest digits that give the number back, as Go's `%g` writes them."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    digits, _, exponent = f"{value!r}".partition("e")
    if exponent:
        power = int(exponent)
        digits = digits.removesuffix(".0")
        if -5 < power < 21:
            return f"{value:f}".rstrip("0").rstrip(".")
        return f"{digits}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return digits.removesuffix(".0")
