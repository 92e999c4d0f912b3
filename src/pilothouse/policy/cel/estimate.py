"""What an expression can cost at most, told from its tree and from how large its variables can become. Pure.

Source: cel-go's cost estimator (`checker/cost.go`) with the estimates of Kubernetes' library
(`k8s.io/apiserver/pkg/cel/library/cost.go`): definitions whose rules are estimated over a limit are refused when they
are written, so these numbers are upstream's whether or not what runs here is as dear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from pilothouse.policy.cel import types
from pilothouse.policy.cel.sizes import Shape
from pilothouse.policy.cel.tree import (
    Call,
    Checked,
    Const,
    Fold,
    Ident,
    MakeList,
    MakeMap,
    MakeStruct,
    Node,
    Select,
)
from pilothouse.policy.cel.types import Type

_MOST: Final = (1 << 64) - 1
_TRAVERSE, _PATTERN = 0.1, 0.25
"""A character passed over; a character of a pattern."""
_SCALARS: Final = (types.BOOL, types.INT, types.UINT, types.DOUBLE, types.TIMESTAMP, types.DURATION)
_RESULT: Final = "@result"


class Range(NamedTuple):
    """From least to most: a cost, or a size. Never over 64 bits."""

    least: int
    most: int

    def __add__(self, other: Range) -> Range:  # type: ignore[override]
        return Range(min(self.least + other.least, _MOST), min(self.most + other.most, _MOST))

    def times(self, other: Range) -> Range:
        return Range(min(self.least * other.least, _MOST), min(self.most * other.most, _MOST))

    def scaled(self, factor: float) -> Range:
        return Range(_scaled(self.least, factor), _scaled(self.most, factor))

    def union(self, other: Range) -> Range:
        return Range(min(self.least, other.least), max(self.most, other.most))


def _scaled(value: int, factor: float) -> int:
    return min(math.ceil(float(value) * factor), _MOST)


_NOTHING, _ONE, _UNKNOWN = Range(0, 0), Range(1, 1), Range(0, _MOST)
_ADDRESS = Range(4, 16)
"""Bytes of an address."""
_FORMAT_PATTERN: Final = 128
"""Characters of a named format's pattern, at most."""
_OPAQUE: Final = frozenset({"net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.URL"})
"""Types whose values are compared at once."""


class Entries(NamedTuple):
    """Sizes of what is in a list or map; `keyed` for a map."""

    keyed: bool
    key: Range
    value: Range

    def union(self, other: Entries | None) -> Entries:
        if other is None:
            return self
        return Entries(self.keyed, self.key.union(other.key), self.value.union(other.value))


class _Local(NamedTuple):
    """A variable of a macro."""

    path: tuple[str, ...]
    size: Range | None
    entries: Entries | None


def estimate(checked: Checked, shape: Shape | None) -> int:
    """The cost at most; `shape` is that of the variables (`self`, `oldSelf`)."""
    return _Estimator(checked.types, shape).cost(checked.root).most


class _Estimator:
    def __init__(self, kinds: Mapping[int, Type], shape: Shape | None) -> None:
        self._kinds = kinds
        self._shape = shape
        self._paths: dict[int, tuple[str, ...]] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, Entries] = {}
        self._locals: dict[str, list[_Local]] = {}

    def cost(self, node: Node) -> Range:
        if isinstance(node, Const):
            return _NOTHING
        if isinstance(node, Ident):
            local = self._local(node)
            self._paths[node.id] = (node.name,) if local is None else local.path
            return _ONE
        if isinstance(node, Select):
            return self._select(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, MakeList):
            return self._list(node)
        if isinstance(node, MakeMap):
            return self._map(node)
        if isinstance(node, MakeStruct):
            return self._sum(value for _, value, _ in node.entries) + Range(40, 40)
        return self._fold(node)

    def _sum(self, nodes: Iterator[Node] | Sequence[Node]) -> Range:
        total = _NOTHING
        for node in nodes:
            total += self.cost(node)
        return total

    def _select(self, node: Select) -> Range:
        cost = self.cost(node.operand)
        if node.test_only:
            return cost
        kind = self._kind(node.operand)
        self._paths[node.id] = (*self._path(node.operand), node.field)
        return cost if kind == types.DYN else cost + _ONE

    def _list(self, node: MakeList) -> Range:
        cost, size = _NOTHING, Range(0 if not node.elements else _MOST, 0)
        for element in node.elements:
            cost += self.cost(element)
            size = size.union(self._size(element))
        self._entries[node.id] = Entries(False, _ONE, size)
        return cost + Range(10, 10)

    def _map(self, node: MakeMap) -> Range:
        cost = _NOTHING
        keys = values = Range(0 if not node.entries else _MOST, 0)
        for key, value, _ in node.entries:
            cost = cost + self.cost(key) + self.cost(value)
            keys, values = keys.union(self._size(key)), values.union(self._size(value))
        self._entries[node.id] = Entries(True, keys, values)
        return cost + Range(30, 30)

    def _fold(self, node: Fold) -> Range:
        if _is_bind(node):
            cost = self.cost(node.iter_range) + self.cost(node.accu_init)
            with self._scope(node.accu_var, self._as_local(node.accu_init)):
                cost += self.cost(node.result)
            self._copy(node, node.result)
            return cost
        cost = self.cost(node.iter_range) + self.cost(node.accu_init)
        with self._scope(node.accu_var, self._as_local(node.accu_init)):
            first, second = self._iterated(node)
            with self._scope(node.iter_var, first), self._scope(node.iter_var2, second):
                each = self.cost(node.condition) + self.cost(node.step)
            cost += self.cost(node.result)
        count = self._size(node.iter_range)
        if isinstance(node.accu_init, Const):
            self._set_size(node, self._computed(node.accu_init))
        elif isinstance(node.accu_init, MakeList | MakeMap):
            self._sizes[node.id] = count
            if (entries := self._entries_of(node.step)) is not None:
                self._entries[node.id] = entries
        return cost + count.times(each)

    def _iterated(self, node: Fold) -> tuple[_Local, _Local]:
        """What a fold's variables stand for; the second is used where there are two."""
        entries, path = self._entries_of(node.iter_range), self._path(node.iter_range)
        keyed = entries.keyed if entries is not None else self._kind(node.iter_range).name != "list"
        key = None if entries is None else entries.key
        value = None if entries is None else entries.value
        keys = _Local((*path, "@keys" if keyed else "@indices"), key, None)
        values = _Local((*path, "@values" if keyed else "@items"), value, None)
        if node.iter_var2:
            return keys, values
        return (keys if keyed else values), values

    def _call(self, node: Call) -> Range:
        if node.function == "dyn":
            cost = self.cost(node.args[0]) + _ONE
            self._copy(node, node.args[0])
            return cost
        target = node.args[0] if node.member else None
        args = node.args[1:] if node.member else node.args
        costs = [self.cost(arg) for arg in args]
        before = _NOTHING if target is None else self.cost(target)
        cost, size = self._function(node, target, args, costs)
        if node.function == "_[_]" and args:
            entries = self._entries_of(args[0])
            size = None if entries is None else entries.value
            step = "@values" if self._kind(args[0]).name == "map" else "@items"
            self._paths[node.id] = (*self._path(args[0]), step)
        self._set_size(node, size if size is not None else self._computed(node))
        return before + cost

    def _function(
        self, node: Call, target: Node | None, args: Sequence[Node], costs: Sequence[Range]
    ) -> tuple[Range, Range | None]:
        """The cost with that of the arguments, and the result's size if it is known."""
        name = node.function
        if name in ("_&&_", "_||_"):
            return Range(costs[0].least, (costs[0] + costs[1]).most), None
        if name == "_?_:_":
            entries, other = self._entries_of(args[1]), self._entries_of(args[2])
            if (joined := other if entries is None else entries.union(other)) is not None:
                self._entries[node.id] = joined
            return costs[0] + costs[1].union(costs[2]), self._size(args[1]).union(self._size(args[2]))
        spent = _NOTHING
        for cost in costs:
            spent += cost
        estimator = _FUNCTIONS.get(name)
        found = None if estimator is None else estimator(self, node, target, args)
        cost, size = (_ONE, None) if found is None else found
        return spent + cost, size

    # What the estimates of functions ask for.

    def size(self, node: Node) -> Range:
        return self._size(node)

    def kind(self, node: Node) -> Type:
        return self._kind(node)

    def entry_size(self, node: Node) -> Range:
        """Of an entry of a list, by its schema alone."""
        path = self._path(node)
        shape = self._shape.at((*path, "@items")[1:]) if path and self._shape is not None else None
        return _UNKNOWN if shape is None else Range(0, shape.most)

    def join_entries(self, node: Node, first: Node, second: Node) -> None:
        entries, other = self._entries_of(first), self._entries_of(second)
        if (joined := other if entries is None else entries.union(other)) is not None:
            self._entries[node.id] = joined

    def _size(self, node: Node) -> Range:
        found = self._computed(node)
        return _UNKNOWN if found is None else found

    def _computed(self, node: Node) -> Range | None:
        if (known := self._sizes.get(node.id)) is not None:
            return known
        if (literal := _literal_size(node)) is not None:
            return Range(literal, literal)
        path = self._path(node)
        shape = self._shape.at(path[1:]) if path and self._shape is not None else None
        if shape is not None:
            found = self._sizes[node.id] = Range(0, shape.most)
            return found
        if _is_scalar(self._kind(node)):
            return _ONE
        local = self._local(node)
        return None if local is None else local.size

    def _set_size(self, node: Node, size: Range | None) -> None:
        if size is not None:
            self._sizes[node.id] = size

    def _entries_of(self, node: Node) -> Entries | None:
        if (known := self._entries.get(node.id)) is not None:
            return known
        local = self._local(node)
        return None if local is None else local.entries

    def _copy(self, node: Node, source: Node) -> None:
        self._set_size(node, self._computed(source))
        if (entries := self._entries_of(source)) is not None:
            self._entries[node.id] = entries

    def _path(self, node: Node) -> tuple[str, ...]:
        local = self._local(node)
        return self._paths.get(node.id, ()) if local is None else local.path

    def _kind(self, node: Node) -> Type:
        return self._kinds.get(node.id, types.DYN)

    def _local(self, node: Node) -> _Local | None:
        scope = self._locals.get(node.name) if isinstance(node, Ident) else None
        return scope[-1] if scope else None

    def _as_local(self, node: Node) -> _Local:
        return _Local(self._path(node), self._computed(node), self._entries_of(node))

    @contextmanager
    def _scope(self, name: str, local: _Local) -> Iterator[None]:
        scope = self._locals.setdefault(name, [])
        scope.append(local)
        yield
        scope.pop()


def _literal_size(node: Node) -> int | None:
    if isinstance(node, MakeList):
        return len(node.elements)
    if isinstance(node, MakeMap):
        return len(node.entries)
    if isinstance(node, Const):
        return len(node.value) if isinstance(node.value, str | bytes) else 1
    return None


def _is_scalar(kind: Type) -> bool:
    return kind in _SCALARS or (kind.name == "optional_type" and bool(kind.params) and _is_scalar(kind.params[0]))


def _is_bind(node: Fold) -> bool:
    empty = isinstance(node.iter_range, MakeList) and not node.iter_range.elements
    never = isinstance(node.condition, Const) and node.condition.value is False
    return empty and never and node.accu_var != _RESULT


Estimate = tuple[Range, Range | None]
_Function = Callable[["_Estimator", Call, Node | None, Sequence[Node]], Estimate | None]
"""What a call costs beyond its arguments, and the size of its result; None: one, and unknown."""


def _equality(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    if of.kind(args[0]) == of.kind(args[1]) and of.kind(args[0]).name in _OPAQUE:
        return _ONE, None
    most = min(of.size(args[0]).most, of.size(args[1]).most)
    return Range(1 if most else 0, most).scaled(_TRAVERSE), None


def _order(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    texts = (types.STRING, types.BYTES, types.DYN)
    if not all(of.kind(arg) in texts for arg in args):
        return None
    if any(of.kind(arg) in (types.STRING, types.BYTES) for arg in args) or len(node.overloads) > 1:
        return _equality(of, node, target, args)
    return None


def _sum(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if len(args) != 2 or "add_int64" in node.overloads[:1]:
        return None
    if not any(overload in ("add_string", "add_bytes", "add_list") for overload in node.overloads):
        return None
    size = of.size(args[0]) + of.size(args[1])
    of.join_entries(node, args[0], args[1])
    if node.overloads == ("add_list",):
        return _ONE, size
    return size.scaled(_TRAVERSE).union(_ONE) if len(node.overloads) > 1 else size.scaled(_TRAVERSE), size


def _within(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    return (of.size(args[1]), None) if "in_list" in node.overloads else None


def _affix(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    return of.size(args[0]).scaled(_TRAVERSE), None


def _matches(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    text, pattern = args if target is None else (target, args[0])
    return (of.size(text) + _ONE).scaled(_TRAVERSE).times(of.size(pattern).scaled(_PATTERN)), None


def _contains(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if target is None:
        return None
    return of.size(target).scaled(_TRAVERSE).times(of.size(args[0]).scaled(_TRAVERSE)), None


def _formatted(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    return None if target is None else (of.size(target).scaled(_TRAVERSE), None)


def _quoted(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    size = of.size(args[0])
    return size.scaled(_TRAVERSE), size + size.times(Range(0, 1)) + Range(2, 2)


def _as_text(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if of.kind(args[0]) != types.BYTES:
        return None
    size = of.size(args[0])
    return size.scaled(_TRAVERSE), Range(size.least // 4, size.most)


def _as_bytes(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if of.kind(args[0]) != types.STRING:
        return None
    size = of.size(args[0])
    return size.scaled(_TRAVERSE), size.times(Range(1, 4))


def _over_entries(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    """isSorted, sum, max, min, indexOf, lastIndexOf."""
    if target is None:
        return None
    kind = of.kind(target)
    if not kind.params:
        return of.size(target).scaled(_TRAVERSE), None
    each = _ONE
    if kind.params[0] in (types.STRING, types.BYTES):
        each += of.entry_size(target).scaled(_TRAVERSE)
    return of.size(target).times(each), None


def _same_length(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    """lowerAscii, upperAscii, substring, trim."""
    if target is None:
        return None
    size = of.size(target)
    return size.scaled(_TRAVERSE), size


def _replace(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if target is None or len(args) < 2:
        return None
    size, old, new = of.size(target), of.size(args[0]), of.size(args[1])
    if old.least == 0:
        most, kept_most = min(size.most + 1, _MOST), size.most
    elif new.most <= old.least:
        most, kept_most = 0, size.most
    else:
        most, kept_most = math.ceil(size.most / old.least), 0
    if old.most == 0:
        least, kept_least = min(size.least + 1, _MOST), size.least
    elif old.most <= new.least:
        least, kept_least = 0, size.least
    else:
        least, kept_least = math.ceil(size.least / old.most), 0
    made = Range(least, most).times(new) + Range(kept_least, kept_most)
    return size.scaled(2 * _TRAVERSE), made


def _split(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if target is None:
        return None
    size, most = of.size(target), of.size(target).most
    if len(args) > 1 and isinstance(args[1], Const):
        # A negative number is all, as it is for the unsigned number upstream makes of it.
        most = args[1].value if args[1].value >= 0 else most
    return size.scaled(2 * _TRAVERSE), Range(0, most)


def _join(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if target is None:
        return None
    count, size = of.size(target), _NOTHING
    if of.kind(target).params:
        size = count.times(of.entry_size(target))
    if args:
        between = Range(max(count.least - 1, 0), max(count.most - 1, 0))
        size += of.size(args[0]).times(between)
    return size.scaled(_TRAVERSE), size


def _find(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if target is None or not args:
        return None
    size = of.size(target)
    cost = (size + _ONE).scaled(_TRAVERSE).times(of.size(args[0]).scaled(_PATTERN))
    return cost, Range(0, size.most)


def _parsed(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    """url, cidr, isCIDR, ip, isIP, quantity, isQuantity, semver, isSemver."""
    return (of.size(args[0]).scaled(_TRAVERSE), None) if args else None


def _canonical(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    return of.size(args[0]).scaled(2 * _TRAVERSE), None


def _escaped(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    return of.size(args[0]).scaled(_TRAVERSE), None


def _validated(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    return of.size(args[0]).scaled(_TRAVERSE).scaled(_FORMAT_PATTERN * _PATTERN), None


def _copied(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    """reverse, flatten: a list of the same size."""
    return None if target is None else _list_of(of.size(target), of.size(target))


def _slice(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    if target is None:
        return None
    start = args[0].value if isinstance(args[0], Const) else 0
    end = args[1].value if isinstance(args[1], Const) else of.size(target).most
    size = Range(max(end - start, 0), max(end - start, 0))
    return _list_of(size, size)


def _compared(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
    """distinct, sort: each with each."""
    if target is None:
        return None
    size = of.size(target)
    return _list_of(size.times(size).times(Range(2, 2)), size)


def _numbers(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    count = args[0].value if isinstance(args[0], Const) else _MOST
    size = Range(max(count, 0), max(count, 0))
    return _list_of(size, size)


def _list_of(cost: Range, size: Range) -> Estimate:
    return cost + Range(11, 11), size


def _check(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
    return Range(350_000, 350_000), None


def _network(more: Range) -> _Function:
    def of_network(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate | None:
        if target is None or not args:
            return None
        cost = (_ADDRESS + _ADDRESS).scaled(_TRAVERSE) + more
        if of.kind(args[0]) == types.STRING:
            cost += of.size(args[0]).scaled(_TRAVERSE)
        return cost, None

    return of_network


def _pairs(factor: int) -> _Function:
    def of_sets(of: _Estimator, node: Call, target: Node | None, args: Sequence[Node]) -> Estimate:
        return of.size(args[0]).times(of.size(args[1])).times(Range(factor, factor)) + _ONE, None

    return of_sets


_FUNCTIONS: Final[Mapping[str, _Function]] = {
    "_==_": _equality,
    "_!=_": _equality,
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), _order),
    "_+_": _sum,
    "@in": _within,
    "startsWith": _affix,
    "endsWith": _affix,
    "matches": _matches,
    "contains": _contains,
    "format": _formatted,
    "strings.quote": _quoted,
    "string": _as_text,
    "bytes": _as_bytes,
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _over_entries),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _same_length),
    "replace": _replace,
    "split": _split,
    "join": _join,
    "find": _find,
    "findAll": _find,
    **dict.fromkeys(("url", "cidr", "isCIDR", "ip", "isIP", "quantity", "isQuantity", "semver", "isSemver"), _parsed),
    "ip.isCanonical": _canonical,
    "jsonpatch.escapeKey": _escaped,
    "validate": _validated,
    "reverse": _copied,
    "flatten": _copied,
    "slice": _slice,
    "distinct": _compared,
    "sort": _compared,
    "lists.range": _numbers,
    "check": _check,
    "containsIP": _network(_NOTHING),
    "containsCIDR": _network(_ADDRESS.scaled(_TRAVERSE) + _ONE),
    "sets.contains": _pairs(1),
    "sets.intersects": _pairs(1),
    "sets.equivalent": _pairs(2),
}
