"""Label and field selectors, and those that LabelSelector objects stand for; see `selector_text` for query strings.

Source: `k8s.io/apimachinery/pkg/labels`, `.../pkg/fields` and the Kubernetes documentation on labels. A negative
requirement (`!=`, `notin`) also holds where the key is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from pilothouse.machinery.objects import Obj


class Operator(Enum):
    """How a requirement tests a key; the values are those of LabelSelectorRequirement, where it has them."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


class Requirement(NamedTuple):
    """One condition on one key."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator is Operator.IN:
            return value is not None and value in self.values
        if operator is Operator.NOT_IN:
            return value is None or value not in self.values
        if operator is Operator.EXISTS:
            return value is not None
        if operator is Operator.DOES_NOT_EXIST:
            return value is None
        return value is not None and _compare(operator, value, next(iter(self.values)))

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        operator = self.operator
        if operator in (Operator.IN, Operator.NOT_IN):
            negative = operator is Operator.NOT_IN
            if len(self.values) == 1:
                return f"{self.key}{'!=' if negative else '='}{values}"
            return f"{self.key} {'notin' if negative else 'in'} ({values})"
        if operator is Operator.EXISTS:
            return self.key
        if operator is Operator.DOES_NOT_EXIST:
            return f"!{self.key}"
        return f"{self.key}{'>' if operator is Operator.GREATER else '<'}{values}"


def _compare(operator: Operator, value: str, bound: str) -> bool:
    try:
        number = int(value)
    except ValueError:
        return False
    return number > int(bound) if operator is Operator.GREATER else number < int(bound)


class Selector(NamedTuple):
    """All of its requirements must hold; without any it matches everything. `nothing` matches no object."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected; None stands for no labels."""
        if self.nothing:
            return False
        found = labels or {}
        return all(requirement.matches(found) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """True when every object is selected."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


class _RequirementView(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str]: ...


class LabelSelectorView(Protocol):
    """A typed LabelSelector, such as `pilothouse.kinds.view.LabelSelector`."""

    @property
    def match_labels(self) -> Mapping[str, str]: ...
    @property
    def match_expressions(self) -> Sequence[_RequirementView]: ...


def from_labels(labels: Mapping[str, str]) -> Selector:
    """Selects objects that carry all these labels (a Service's selector)."""
    return Selector(tuple(Requirement(key, Operator.IN, frozenset((value,))) for key, value in sorted(labels.items())))


def from_label_selector(selector: Obj | LabelSelectorView | None) -> Selector:
    """The selector a LabelSelector object stands for, given as a JSON tree or as a view.

    None selects nothing, an empty one everything. Raises ValueError naming an operator that does not exist or
    values that do not go with it.
    """
    if selector is None:
        return NOTHING
    if isinstance(selector, dict):
        match_labels: Mapping[str, str] = selector.get("matchLabels") or {}
        expressions = [
            (str(entry.get("key", "")), str(entry.get("operator", "")), entry.get("values") or ())
            for entry in selector.get("matchExpressions") or ()
        ]
    else:
        match_labels = selector.match_labels
        expressions = [(entry.key, entry.operator, entry.values) for entry in selector.match_expressions]
    requirements = [*from_labels(match_labels).requirements]
    requirements += [_expression(key, operator, values) for key, operator, values in expressions]
    return Selector(tuple(requirements))


def _expression(key: str, operator: str, values: Iterable[str]) -> Requirement:
    found = frozenset(values)
    if operator in ("In", "NotIn"):
        if not found:
            raise ValueError(f"{key}: for 'in', 'notin' operators, values set can't be empty")
    elif operator in ("Exists", "DoesNotExist"):
        if found:
            raise ValueError(f"{key}: values set must be empty for exists and does not exist")
    else:
        raise ValueError(f"{operator!r} is not a valid label selector operator; use In, NotIn, Exists or DoesNotExist")
    return Requirement(key, Operator(operator), found)


class FieldRequirement(NamedTuple):
    """`field=value`, or `field!=value` when `negative`."""

    field: str
    value: str
    negative: bool = False


class FieldSelector(NamedTuple):
    """All requirements must hold; a field that an object lacks counts as the empty text."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all(
            (fields.get(requirement.field, "") == requirement.value) != requirement.negative
            for requirement in self.requirements
        )

    def exact(self, field: str) -> str | None:
        """The value that `field` must equal, if the selector says so."""
        return next((r.value for r in self.requirements if r.field == field and not r.negative), None)
