"""Values as expressions see them.

null, bool, int, double, string, bytes, list and map are Python's own, so that a JSON tree is a value as it is; an uint
is an `UInt`. Numbers are equal across their types; a bool is no number here, though Python has it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError

INT_MIN, INT_MAX, UINT_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
NANOS: Final = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800 * NANOS, 253_402_300_800 * NANOS - 1


class UInt(int):
    """An unsigned integer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970."""

    nanos: int

    @classmethod
    def of(cls, nanos: int) -> Timestamp:
        """Raises EvaluationError outside of the years 1 to 9999."""
        if not _FIRST <= nanos <= _LAST:
            raise EvaluationError("timestamp overflow")
        return cls(nanos)

    def datetime(self, zone: timezone | Any = UTC) -> datetime:
        """As a date and time of that zone (to the microsecond)."""
        return (_EPOCH + timedelta(microseconds=self.nanos // 1000)).astimezone(zone)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time, in nanoseconds."""

    nanos: int

    @classmethod
    def of(cls, nanos: int) -> Duration:
        """Raises EvaluationError beyond 64 bits."""
        if not INT_MIN <= nanos <= INT_MAX:
            raise EvaluationError("duration overflow")
        return cls(nanos)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what `type(x)` gives."""

    name: str


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be missing."""

    value: Any = None
    present: bool = False


NONE: Final = Optional()


class SetList(list[Any]):
    """A list whose order does not matter (`x-kubernetes-list-type: set`)."""

    __slots__ = ()


class MapList(list[Any]):
    """A list of objects told apart by keys (`x-kubernetes-list-type: map`)."""

    __slots__ = ("keys",)

    def __init__(self, entries: Sequence[Any], keys: tuple[str, ...]) -> None:
        super().__init__(entries)
        self.keys = keys

    def key_of(self, entry: Any) -> tuple[Any, ...]:
        """What tells an entry from the others."""
        return tuple(entry.get(key) if isinstance(entry, Mapping) else None for key in self.keys)


class Opaque:
    """A value of a type that a library brings; `TYPE` is the type's name."""

    __slots__ = ()
    TYPE = ""


class _BoolKey:
    """A bool as the key of a map, where Python would take it for 0 or 1."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_BOOL_KEYS = {False: _BoolKey(False), True: _BoolKey(True)}

_TYPE_NAMES: Mapping[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    Optional: "optional_type",
}


def type_name(value: Any) -> str:
    """The CEL name of a value's type."""
    found = _TYPE_NAMES.get(type(value))
    if found is not None:
        return found
    return value.TYPE if isinstance(value, Opaque) else "dyn"


def map_key(value: Any) -> Any:
    """A value as it is kept as a key. Raises EvaluationError for what can be none."""
    kind = type(value)
    if kind is str or kind is int or kind is UInt:
        return value
    if kind is bool:
        return _BOOL_KEYS[value]
    if kind is float:
        return value  # found when it equals a whole number; none can be made
    raise EvaluationError(f"unsupported key type: {type_name(value)}")


def keys_of(value: Mapping[Any, Any]) -> Iterator[Any]:
    """The keys of a map, as they were given."""
    for key in value:
        yield key.value if type(key) is _BoolKey else key


def items_of(value: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Keys and values of a map."""
    for key, entry in value.items():
        yield (key.value if type(key) is _BoolKey else key), entry


_NUMBERS = (int, UInt, float)


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """CEL's equality: false for different types, numbers by their value."""
    kind, other = type(left), type(right)
    if kind is other and kind is str:
        return bool(left == right)
    if kind in _NUMBERS and other in _NUMBERS:
        return bool(left == right)
    if isinstance(left, list):
        return isinstance(right, list) and _lists_equal(left, right, budget)
    if isinstance(left, dict):
        return isinstance(right, dict) and _maps_equal(left, right, budget)
    if kind is Optional and other is Optional:
        if left.present and right.present:
            return equal(left.value, right.value, budget)
        return bool(left.present == right.present)
    return kind is other and bool(left == right)


def _lists_equal(left: list[Any], right: list[Any], budget: Budget) -> bool:
    if len(left) != len(right):
        return False
    budget.work(len(left))
    as_set = isinstance(left, SetList) or isinstance(right, SetList)
    by_key = left if isinstance(left, MapList) else right if isinstance(right, MapList) else None
    if by_key is not None:
        others = {by_key.key_of(entry): entry for entry in right}
        return all(
            by_key.key_of(entry) in others and equal(entry, others[by_key.key_of(entry)], budget) for entry in left
        )
    if as_set:
        return all(contains(right, entry, budget) for entry in left)
    return all(equal(a, b, budget) for a, b in zip(left, right))


def _maps_equal(left: dict[Any, Any], right: dict[Any, Any], budget: Budget) -> bool:
    if len(left) != len(right):
        return False
    budget.work(len(left))
    return all(key in right and equal(value, right[key], budget) for key, value in left.items())


def contains(entries: Sequence[Any], value: Any, budget: Budget) -> bool:
    """Whether a list has an element equal to the value."""
    budget.work(len(entries) // 8)
    return any(equal(entry, value, budget) for entry in entries)


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1 for two values of ordered types. Raises EvaluationError."""
    kind, other = type(left), type(right)
    comparable = kind is other and kind in (str, bytes, bool, Timestamp, Duration)
    if not comparable and not (kind in _NUMBERS and other in _NUMBERS):
        raise no_such_overload()
    if kind is str:
        left, right = left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass")
    return int(left > right) - int(left < right)


def size(value: Any) -> int:
    """How many characters, bytes or elements; 1 for what has no size."""
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 1


def integer(value: int) -> int:
    """Raises EvaluationError beyond 64 bits."""
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def unsigned(value: int) -> UInt:
    """Raises EvaluationError beyond 64 bits and below 0."""
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def no_such_overload() -> EvaluationError:
    """A function was called with values it is not made for."""
    return EvaluationError("no such overload")
