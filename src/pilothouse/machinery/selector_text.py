"""The selectors of `labelSelector` and `fieldSelector` in a query, and what is wrong with them in upstream's words.

Source: the grammar and messages of `k8s.io/apimachinery/pkg/labels` and `.../pkg/fields`.
"""

from __future__ import annotations

import re

import orjson

from pilothouse.machinery import names
from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.selectors import FieldRequirement, FieldSelector, Operator, Requirement, Selector

_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+")
_SIGNS = frozenset(("==", "!=", *"=!(),<>"))
_OPERATORS = {
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}


def parse_label_selector(text: str) -> Selector:
    """The selector of `a=b,c!=d,e in (f,g),!h,i,j>1`. Raises BadRequest."""
    return Selector(tuple(_LabelParser(text).requirements()))


class _LabelParser:
    """Reads tokens one after another; the end is the token ""."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = [*_TOKEN.findall(text), ""]
        self.position = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        first = self.ahead()
        if first and not _starts(first):
            raise BadRequest(f"found '{first}', expected: !, identifier, or 'end of string'")
        while self.ahead():
            try:
                found.append(self.requirement())
            except ValueError as error:
                raise BadRequest(f"unable to parse requirement: {error}") from error
            after = self.take()
            if not after:
                break
            if after != ",":
                raise BadRequest(f"found '{after}', expected: ',' or 'end of string'")
            if not _starts(self.ahead()):
                raise BadRequest(f"found '{self.ahead()}', expected: identifier after ','")
        return found

    def ahead(self) -> str:
        return self.tokens[self.position]

    def take(self) -> str:
        self.position += 1
        return self.tokens[self.position - 1]

    def requirement(self) -> Requirement:
        """Raises ValueError."""
        key = self.take()
        missing = key == "!"
        if missing:
            key = self.take()
        if not _is_word(key):
            raise ValueError(f"found '{key}', expected: identifier")
        wrong = names.label_key(key)
        if wrong:
            raise ValueError(_invalid("<nil>", key, "; ".join(wrong)))
        if missing:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self.ahead() in ("", ","):
            return Requirement(key, Operator.EXISTS)
        sign = self.take()
        operator = _OPERATORS.get(sign)
        if operator is None:
            raise ValueError(f"found '{sign}', expected: in, notin, =, ==, !=, gt, lt")
        values = self.values() if sign in ("in", "notin") else {self.value()}
        _check_values(key, operator, values)
        return Requirement(key, operator, frozenset(values))

    def value(self) -> str:
        if self.ahead() in ("", ","):
            return ""
        value = self.take()
        if not _is_word(value):
            raise ValueError(f"found '{value}', expected: identifier")
        return value

    def values(self) -> set[str]:
        opening = self.take()
        if opening != "(":
            raise ValueError(f"found '{opening}' expected: '('")
        if self.ahead() == ")":
            self.take()
            return {""}
        if self.ahead() != "," and not _is_word(self.ahead()):
            raise ValueError(f"found '{self.ahead()}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            value = self.take()
            if _is_word(value):
                values.add(value)
                if self.ahead() not in (",", ")"):
                    raise ValueError(f"found '{self.ahead()}', expected: ',' or ')'")
            elif value != ",":
                raise ValueError(f"found '{value}', expected: ',', or identifier")
            elif not values or self.ahead() in (",", ")"):
                values.add("")
            if self.ahead() == ")":
                self.take()
                return values


def _is_word(token: str) -> bool:
    return token != "" and token not in _SIGNS


def _starts(token: str) -> bool:
    return token == "!" or _is_word(token)


def _check_values(key: str, operator: Operator, values: set[str]) -> None:
    wrong: list[str] = []
    ordered = sorted(values)
    if operator in (Operator.GREATER, Operator.LESS):
        why = "for 'Gt', 'Lt' operators, the value must be an integer"
        wrong += [_invalid(f"values[{n}]", value, why) for n, value in enumerate(ordered) if not _is_int64(value)]
    for number, value in enumerate(ordered):
        messages = names.label_value(value)
        if messages:
            wrong.append(_invalid(f"values[{number}][{key}]", value, "; ".join(messages)))
    if wrong:
        raise ValueError(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")


def _is_int64(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII) is not None and -(2**63) <= int(text) < 2**63


def _invalid(path: str, value: str, why: str) -> str:
    return f"{path}: Invalid value: {orjson.dumps(value).decode()}: {why}"


_FIELD_TERM = re.compile(r"(?:\\.|[^\\,])*\\?", re.DOTALL)
_FIELD_SIGN = re.compile(r"!=|==|=")


def parse_field_selector(text: str) -> FieldSelector:
    """The selector of `a=b,c!=d`, where `\\` goes before a comma, a sign or another in a value. Raises BadRequest."""
    requirements: list[FieldRequirement] = []
    for term in sorted(filter(None, _FIELD_TERM.findall(text))):
        sign = _FIELD_SIGN.search(term)
        if sign is None:
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
        value = _unescaped(term[sign.end() :])
        requirements.append(FieldRequirement(term[: sign.start()], value, sign[0] == "!="))
    return FieldSelector(tuple(requirements))


def _unescaped(text: str) -> str:
    value: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            if character not in ("\\", ",", "="):
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{character}")
        elif character in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(character)}")
        value.append(character)
    return "".join(value)
