"""From a checked tree to nested functions that evaluate it, counting as upstream counts.

Source of the costs: cel-go's cost tracker as Kubernetes sets it up (a presence test costs nothing) and its optimizer
(literals are made once). Names and selected fields cost 1, a list 10, a map 30, a call what its library says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pilothouse.policy.cel import fields, values
from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.registry import dispatch
from pilothouse.policy.cel.tree import Call, Const, Fold, Ident, MakeList, MakeMap, MakeStruct, Node, Select
from pilothouse.policy.cel.values import Optional, UInt, no_such_overload

LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40

_TYPES = ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "optional_type")
TYPE_NAMES = frozenset((*_TYPES, "google.protobuf.Timestamp", "google.protobuf.Duration"))

_CONSTANT_CONVERSIONS = frozenset(("bytes", "double", "duration", "int", "string", "timestamp", "uint"))


class Frame:
    """One evaluation: the variables given, the variables of macros, and the budget."""

    __slots__ = ("budget", "names", "slots")

    def __init__(self, names: Mapping[str, Any], slots: int, budget: Budget) -> None:
        self.names = names
        self.slots: list[Any] = [None] * slots
        self.budget = budget


Step = Callable[[Frame], Any]


class Builder:
    """Makes the functions of one expression; `slots` is how many places its macros' variables need."""

    def __init__(self) -> None:
        self.slots = 0
        self._scope: dict[str, int] = {}
        self._failing: set[int] = set()
        """Places of results that may hold an error, which a later element may outweigh."""

    def build(self, node: Node, root_cost: int = 1) -> Step:
        """The function of a node. `root_cost` is what its first name costs, where that differs."""
        if isinstance(node, Const):
            return _constant(node.value)
        if isinstance(node, Ident):
            return self._ident(node, root_cost)
        if isinstance(node, Select):
            return self._select(node, root_cost)
        if isinstance(node, Call):
            return self._call(node, root_cost)
        if isinstance(node, MakeList):
            return self._list(node)
        if isinstance(node, MakeMap):
            return self._map(node)
        if isinstance(node, MakeStruct):
            return self._struct(node)
        return self._fold(node)

    def _ident(self, node: Ident, cost: int) -> Step:
        name, slot = node.name, self._scope.get(node.name)
        if slot is not None:
            if slot in self._failing:
                return _result_so_far(slot, cost)

            def local(frame: Frame) -> Any:
                frame.budget.charge(cost)
                return frame.slots[slot]

            return local
        if name in TYPE_NAMES:
            return _constant(values.TypeValue(name))

        def variable(frame: Frame) -> Any:
            frame.budget.charge(cost)
            try:
                return frame.names[name]
            except KeyError:
                if "." in name:
                    return values.TypeValue(name)
                raise EvaluationError(f"no such attribute(s): {name}") from None

        return variable

    def _select(self, node: Select, root_cost: int) -> Step:
        operand, name = self.build(node.operand, root_cost), node.field
        extra = 1 + (0 if _is_attribute(node.operand) else 1)
        if node.test_only:

            def test(frame: Frame) -> bool:
                return fields.has(operand(frame), name)

            return test

        def select(frame: Frame) -> Any:
            target = operand(frame)
            frame.budget.charge(extra)
            if type(target) is dict:
                try:
                    return target[name]
                except KeyError:
                    pass
            return fields.select(target, name)

        return select

    def _list(self, node: MakeList) -> Step:
        elements = [self.build(element) for element in node.elements]
        if all(isinstance(element, Const) for element in node.elements):
            literal = [element.value for element in node.elements if isinstance(element, Const)]
            return lambda frame: list(literal)
        if not node.optional:

            def make(frame: Frame) -> list[Any]:
                made = [element(frame) for element in elements]
                frame.budget.charge(LIST_COST)
                return made

            return make

        def make_optional(frame: Frame) -> list[Any]:
            made = []
            for index, element in enumerate(elements):
                value = element(frame)
                if index not in node.optional:
                    made.append(value)
                elif _optional(value).present:
                    made.append(value.value)
            frame.budget.charge(LIST_COST)
            return made

        return make_optional

    def _map(self, node: MakeMap) -> Step:
        entries = [(self.build(key), self.build(value), optional) for key, value, optional in node.entries]
        constant = all(isinstance(key, Const) and isinstance(value, Const) for key, value, _ in node.entries)
        cost = 0 if constant else MAP_COST

        def make(frame: Frame) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key_of, value_of, optional in entries:
                key, value = values.map_key(key_of(frame)), value_of(frame)
                if type(key) is float:
                    raise EvaluationError("unsupported key type: double")
                if optional:
                    if not _optional(value).present:
                        continue
                    value = value.value
                if key in made:
                    raise EvaluationError("Failed with repeated key")
                made[key] = value
            frame.budget.charge(cost)
            return made

        return make

    def _struct(self, node: MakeStruct) -> Step:
        entries = [(name, self.build(value), optional) for name, value, optional in node.entries]

        def make(frame: Frame) -> Any:
            made: dict[Any, Any] = {}
            for name, value_of, optional in entries:
                value = value_of(frame)
                if optional:
                    if not _optional(value).present:
                        continue
                    value = value.value
                made[name] = value
            frame.budget.charge(STRUCT_COST)
            return fields.struct(node.name, made)

        return make

    def _call(self, node: Call, root_cost: int) -> Step:
        special = _SPECIAL.get(node.function)
        if special is not None:
            return special(self, node)
        if node.function == "_?_:_":
            return self._conditional(node)
        if node.function in ("_[_]", "_[?_]", "_?._"):
            return self._index(node, root_cost)
        args = [self.build(arg) for arg in node.args]
        call = dispatch(node.function, node.member)
        if node.function in _CONSTANT_CONVERSIONS and len(args) == 1 and isinstance(node.args[0], Const):
            return _folded(call, node.args[0].value)
        if len(args) == 1:
            (only,) = args
            return lambda frame: call(frame.budget, (only(frame),))
        if len(args) == 2:
            first, second = args
            return lambda frame: call(frame.budget, (first(frame), second(frame)))
        return lambda frame: call(frame.budget, [arg(frame) for arg in args])

    def _conditional(self, node: Call) -> Step:
        condition = self.build(node.args[0])
        then, other = (self.build(arg, 0 if _is_attribute(arg) else 1) for arg in node.args[1:])

        def choose(frame: Frame) -> Any:
            met = condition(frame)
            if met is True:
                return then(frame)
            if met is False:
                return other(frame)
            raise no_such_overload()

        return choose

    def _index(self, node: Call, root_cost: int) -> Step:
        operand = self.build(node.args[0], root_cost)
        index = self.build(node.args[1], 0 if _is_attribute(node.args[1]) else 1)
        extra = 1 + (0 if _is_attribute(node.args[0]) else 1)
        look = fields.select if node.function == "_?._" else fields.index
        optional = node.function != "_[_]"

        def at(frame: Frame) -> Any:
            target, key = operand(frame), index(frame)
            frame.budget.charge(extra)
            if not optional:
                return look(target, key)
            return fields.optionally(look, target, key)

        return at

    def _fold(self, node: Fold) -> Step:
        entries = self.build(node.iter_range)
        initial = self.build(node.accu_init)
        accu, hidden = self._enter(node.accu_var)
        item, hidden_item = self._enter(node.iter_var)
        second, hidden_second = self._enter(node.iter_var2) if node.iter_var2 else (-1, None)
        if not _is_true(node.condition):
            self._failing.add(accu)
        step = self._accumulating(node.step, node.accu_var, accu)
        condition = None if _is_true(node.condition) else self.build(node.condition)
        if node.iter_var2:
            self._leave(node.iter_var2, hidden_second)
        self._leave(node.iter_var, hidden_item)
        result = self.build(node.result)
        self._leave(node.accu_var, hidden)

        def fold(frame: Frame) -> Any:
            source, slots = entries(frame), frame.slots
            slots[accu] = initial(frame)
            for first, other in _pairs(source, second >= 0):
                if condition is not None and condition(frame) is not True:
                    break
                frame.budget.work(1)
                slots[item] = first
                if second >= 0:
                    slots[second] = other
                try:
                    slots[accu] = step(frame)
                except EvaluationError as error:
                    if condition is None:
                        raise
                    slots[accu] = error
            return result(frame)

        return fold

    def _enter(self, name: str) -> tuple[int, int | None]:
        hidden = self._scope.get(name)
        self._scope[name] = self.slots
        self.slots += 1
        return self._scope[name], hidden

    def _leave(self, name: str, hidden: int | None) -> None:
        if hidden is None:
            del self._scope[name]
        else:
            self._scope[name] = hidden

    def _accumulating(self, node: Node, accu: str, slot: int) -> Step:
        """The step of a fold. What only adds to the result adds in place: nobody else can see that list or map."""
        if not isinstance(node, Call):
            return self.build(node)
        if node.function == "_?_:_":
            condition = self.build(node.args[0])
            then, other = (
                self.build(arg, 0) if _is_attribute(arg) else self._accumulating(arg, accu, slot)
                for arg in node.args[1:]
            )

            def choose(frame: Frame) -> Any:
                met = condition(frame)
                if type(met) is not bool:
                    raise no_such_overload()
                return then(frame) if met else other(frame)

            return choose
        if not node.args or not (isinstance(node.args[0], Ident) and node.args[0].name == accu):
            return self.build(node)
        if node.function == "_+_" and isinstance(node.args[1], MakeList):
            added = self.build(node.args[1])

            def append(frame: Frame) -> Any:
                made = frame.slots[slot]
                more = added(frame)
                frame.budget.charge(2)
                made.extend(more)
                frame.budget.room_for(len(made) * 10)
                return made

            return append
        if node.function == "cel.@mapInsert":
            return self._inserting(node, slot)
        return self.build(node)

    def _inserting(self, node: Call, slot: int) -> Step:
        args = [self.build(arg) for arg in node.args[1:]]

        def insert(frame: Frame) -> Any:
            made, given = frame.slots[slot], [arg(frame) for arg in args]
            frame.budget.charge(2)
            pairs = given[0].items() if len(given) == 1 else ((values.map_key(given[0]), given[1]),)
            for key, value in pairs:
                if key in made:
                    raise EvaluationError(f"insert failed: key {key} already exists")
                made[key] = value
            frame.budget.room_for(len(made) * 10)
            return made

        return insert


def _result_so_far(slot: int, cost: int) -> Step:
    def read(frame: Frame) -> Any:
        frame.budget.charge(cost)
        found = frame.slots[slot]
        if isinstance(found, EvaluationError):
            raise found
        return found

    return read


def _pairs(source: Any, both: bool) -> Any:
    """What a fold goes over: elements, or keys; for two variables index and element, or key and value."""
    if isinstance(source, list):
        return enumerate(source) if both else ((entry, None) for entry in source)
    if isinstance(source, dict):
        return values.items_of(source) if both else ((key, None) for key in values.keys_of(source))
    raise no_such_overload()


def _constant(value: Any) -> Step:
    return lambda frame: value


def _folded(call: Callable[[Budget, Sequence[Any]], Any], value: Any) -> Step:
    """A conversion of a literal, made once; an error stays an error of each evaluation."""
    try:
        return _constant(call(Budget(), (value,)))
    except EvaluationError as error:
        text = str(error)

        def fail(frame: Frame) -> Any:
            raise EvaluationError(text)

        return fail


def _optional(value: Any) -> Optional:
    if type(value) is not Optional:
        raise no_such_overload()
    return value


def _is_attribute(node: Node) -> bool:
    return (
        isinstance(node, Ident)
        or (isinstance(node, Select) and not node.test_only)
        or (isinstance(node, Call) and node.function in ("_[_]", "_[?_]", "_?._", "_?_:_"))
    )


def _is_true(node: Node) -> bool:
    return isinstance(node, Const) and node.value is True


def _logic(stops_at: bool) -> Callable[[Builder, Call], Step]:
    """`&&` and `||`: a side that decides outweighs an error of the other."""

    def make(builder: Builder, node: Call) -> Step:
        left, right = (builder.build(arg) for arg in node.args)

        def decide(frame: Frame) -> bool:
            try:
                first = left(frame)
                if first is stops_at:
                    return bool(stops_at)
                failed = None if type(first) is bool else no_such_overload()
            except EvaluationError as error:
                failed = error
            second: Any = right(frame)
            if second is stops_at:
                return bool(stops_at)
            if failed is not None:
                raise failed
            if type(second) is not bool:
                raise no_such_overload()
            return not stops_at

        return decide

    return make


def _not_strictly_false(builder: Builder, node: Call) -> Step:
    inner = builder.build(node.args[0])

    def hold(frame: Frame) -> bool:
        try:
            return inner(frame) is not False
        except EvaluationError:
            return True
        finally:
            frame.budget.charge(1)

    return hold


def _in(builder: Builder, node: Call) -> Step:
    """Membership; that of a list of literals is looked up in a set that is made once, and costs nothing."""
    given, entries = node.args
    value = builder.build(given)
    if isinstance(entries, MakeList) and all(isinstance(entry, Const) for entry in entries.elements):
        constants = [entry.value for entry in entries.elements if isinstance(entry, Const)]
        if all(type(constant) in (str, int, UInt) for constant in constants):
            known = frozenset(constants)

            def among(frame: Frame) -> bool:
                found = value(frame)
                return type(found) in (str, int, UInt, float) and found in known

            return among
    collection = builder.build(entries)
    call = dispatch("@in", False)
    return lambda frame: call(frame.budget, (value(frame), collection(frame)))


def _or_value(builder: Builder, node: Call) -> Step:
    """`optional.orValue(x)`, `optional.or(optional)`: the second only where it is needed."""
    first, second = (builder.build(arg) for arg in node.args)
    unwrap = node.function == "orValue"

    def choose(frame: Frame) -> Any:
        found = _optional(first(frame))
        frame.budget.charge(1)
        if found.present:
            return found.value if unwrap else found
        return second(frame)

    return choose


_SPECIAL: Mapping[str, Callable[[Builder, Call], Step]] = {
    "_&&_": _logic(False),
    "_||_": _logic(True),
    "@not_strictly_false": _not_strictly_false,
    "@in": _in,
    "or": _or_value,
    "orValue": _or_value,
}
