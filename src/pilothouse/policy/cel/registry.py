"""Functions: how a library declares them, and how a call finds the one that fits its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.types import Type, parse_type, spec
from pilothouse.policy.cel.values import no_such_overload, type_name

Implementation = Callable[..., Any]
"""Called with the budget and the arguments."""
Cost = Callable[..., int]
"""The cost of a call, from its arguments; asked before the call is made."""


class Overload(NamedTuple):
    """One signature of a function."""

    function: str
    id: str
    member: bool
    params: tuple[Type, ...]
    result: Type
    run: Implementation
    cost: Cost | None

    def accepts(self, names: Sequence[str]) -> bool:
        """Whether values of types of these names fit."""
        return len(names) == len(self.params) and all(
            param.name in (name, "dyn") or len(param.name) == 1 for param, name in zip(self.params, names)
        )

    def spec(self) -> dict[str, Any]:
        """As the parser's configuration wants it."""
        args = [spec(param) for param in self.params]
        found: dict[str, Any] = {"id": self.id, "args": args[1:] if self.member else args, "return": spec(self.result)}
        if self.member:
            found["target"] = args[0]
        return found


OVERLOADS: dict[str, list[Overload]] = {}
"""All functions by name; the libraries add theirs when they are imported."""
DECLARED: set[str] = set()
"""The names of those that the parser does not know by itself, or not in full."""


def function(
    *signatures: str, cost: Cost | None = None, known: bool = False
) -> Callable[[Implementation], Implementation]:
    """Declares a function by its signatures: `string.indexOf(string, int) -> int`, `:quantity(string) -> Quantity` (a
    colon for a function that is no member). Without `cost` a call costs 1. `known`: the parser declares it."""

    def add(run: Implementation) -> Implementation:
        for text in signatures:
            overload = _overload(text, run, cost)
            OVERLOADS.setdefault(overload.function, []).append(overload)
            if not known:
                DECLARED.add(overload.function)
        return run

    return add


def _overload(text: str, run: Implementation, cost: Cost | None) -> Overload:
    call, result = text.rsplit(" -> ", 1)
    opening = _opening(call)
    name, args = call[:opening], _split(call[opening + 1 : -1])
    params = [parse_type(arg) for arg in args]
    member = not name.startswith(":")
    if member:
        target, _, name = name.rpartition(".")
        params.insert(0, parse_type(target))
    name = name.removeprefix(":")
    identity = f"{name}({','.join(map(str, params))})" + ("m" if member else "")
    return Overload(name, identity, member, tuple(params), parse_type(result), run, cost)


def _opening(call: str) -> int:
    """Where the bracket of the arguments opens."""
    depth = 0
    for at in range(len(call) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(call[at], 0)
        if not depth:
            return at
    raise ValueError(f"not a signature: {call}")


def _split(args: str) -> list[str]:
    found, depth, start = [], 0, 0
    for at, char in enumerate(args):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and not depth:
            found.append(args[start:at])
            start = at + 1
    return [arg.strip() for arg in (*found, args[start:]) if arg.strip()]


def dispatch(name: str, member: bool) -> Callable[[Budget, Sequence[Any]], Any]:
    """A call of a function, which finds the overload for its values and remembers it by their types."""
    overloads = [overload for overload in OVERLOADS.get(name, ()) if overload.member == member]
    found: dict[tuple[type, ...], Overload] = {}

    def call(budget: Budget, args: Sequence[Any]) -> Any:
        kinds = tuple(map(type, args))
        overload = found.get(kinds)
        if overload is None:
            names = [type_name(arg) for arg in args]
            overload = next((entry for entry in overloads if entry.accepts(names)), None)
            if overload is None:
                raise no_such_overload()
            found[kinds] = overload
        budget.charge(1 if overload.cost is None else overload.cost(*args))
        return overload.run(budget, *args)

    return call
