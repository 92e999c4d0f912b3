"""Label and field selectors, from query strings and from LabelSelector objects.

Source: `k8s.io/apimachinery/pkg/labels`, `.../pkg/fields` and the Kubernetes documentation on labels. A negative
requirement (`!=`, `notin`) also holds where the key is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from pilothouse.machinery import names
from pilothouse.machinery.errors import BadRequest
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


_TOKEN = re.compile(r"\s*(==|!=|=|!|\(|\)|,|>|<|[^\s=!(),<>]+)")


def parse_label_selector(text: str) -> Selector:
    """The selector of a `labelSelector` query parameter: `a=b,c!=d,e in (f,g),!h,i`. Raises BadRequest."""
    tokens = _tokens(text)
    requirements: list[Requirement] = []
    position = 0
    while position < len(tokens):
        requirement, position = _requirement(text, tokens, position)
        requirements.append(requirement)
        if position < len(tokens):
            if tokens[position] != "," or position + 1 == len(tokens):
                raise _unparsable(text, f"found '{tokens[position]}', expected: ',' or 'end of string'")
            position += 1
    return Selector(tuple(requirements))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise _unparsable(text, f"found '{stripped[position:]}'")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _unparsable(text: str, why: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {why} in the selector {text!r}")


def _requirement(text: str, tokens: list[str], position: int) -> tuple[Requirement, int]:
    def at(index: int) -> str:
        return tokens[index] if index < len(tokens) else ""

    if at(position) == "!":
        return Requirement(_key(text, at(position + 1)), Operator.DOES_NOT_EXIST), position + 2
    key = _key(text, at(position))
    sign = at(position + 1)
    if sign in ("", ","):
        return Requirement(key, Operator.EXISTS), position + 1
    if sign in ("in", "notin"):
        values, after = _values(text, tokens, position + 2)
        return Requirement(key, Operator.IN if sign == "in" else Operator.NOT_IN, values), after
    value = at(position + 2)
    after = position + 3
    if value in ("", ","):
        value, after = "", position + 2
    if sign in ("=", "==", "!="):
        _valid_value(text, key, value)
        operator = Operator.NOT_IN if sign == "!=" else Operator.IN
        return Requirement(key, operator, frozenset((value,))), after
    if sign in (">", "<"):
        if re.fullmatch(r"[+-]?[0-9]+", value) is None:
            raise _unparsable(
                text,
                f"values[0][{key}]: Invalid value: {value!r}: for 'Gt', 'Lt' operators, the value must be an integer",
            )
        return Requirement(key, Operator.GREATER if sign == ">" else Operator.LESS, frozenset((value,))), after
    raise _unparsable(text, f"found '{sign}', expected: in, notin, =, ==, !=, gt, lt")


def _key(text: str, key: str) -> str:
    messages = names.label_key(key)
    if messages:
        raise _unparsable(text, f"key: Invalid value: {key!r}: {'; '.join(messages)}")
    return key


def _valid_value(text: str, key: str, value: str) -> None:
    messages = names.label_value(value)
    if messages:
        raise _unparsable(text, f"values[0][{key}]: Invalid value: {value!r}: {'; '.join(messages)}")


def _values(text: str, tokens: list[str], position: int) -> tuple[frozenset[str], int]:
    if position >= len(tokens) or tokens[position] != "(":
        found = tokens[position] if position < len(tokens) else ""
        raise _unparsable(text, f"found '{found}' expected: '('")
    values: set[str] = set()
    position += 1
    pending = ""
    while position < len(tokens) and tokens[position] != ")":
        token = tokens[position]
        if token == ",":
            values.add(pending)
            pending = ""
        elif pending:
            raise _unparsable(text, f"found '{token}', expected: ',' or ')'")
        else:
            _valid_value(text, "", token)
            pending = token
        position += 1
    if position >= len(tokens):
        raise _unparsable(text, "found '', expected: ',' or ')'")
    values.add(pending)
    return frozenset(values), position + 1


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


_UNESCAPED_COMMA = re.compile(r"(?:\\.|[^\\,])+")
_FIELD_TERM = re.compile(r"((?:\\.|[^\\=!])*)(!=|==|=)((?:\\.|[^\\=])*)", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\,=])")


def parse_field_selector(text: str) -> FieldSelector:
    """The selector of a `fieldSelector` query parameter: `a=b,c!=d`, `\\` escapes. Raises BadRequest."""
    requirements: list[FieldRequirement] = []
    for term in _UNESCAPED_COMMA.findall(text):
        match = _FIELD_TERM.fullmatch(term)
        if match is None:
            raise BadRequest(
                f"invalid selector: '{text}'; can't understand '{term}': write field=value or field!=value"
            )
        requirements.append(FieldRequirement(match[1], _ESCAPE.sub(r"\1", match[3]), match[2] == "!="))
    return FieldSelector(tuple(requirements))
