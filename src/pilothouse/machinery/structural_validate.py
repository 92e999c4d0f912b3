"""Does a custom resource hold to its schema: types, bounds, patterns, enumerations, junctors, distinct list entries.

Source of rules and wording: `k8s.io/kube-openapi/pkg/validation` and how apiextensions words what that reports.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any, Final

import orjson

from pilothouse.machinery.errors import Cause
from pilothouse.machinery.patterns import BUDGET, InvalidPattern, cost, found_in
from pilothouse.machinery.structural_formats import fits
from pilothouse.machinery.structural_schema import ABSENT, Structural

_MOST: Final = 100
"""Causes after which a walk ends: a list of a million wrong entries is told about by its first."""
ROOT: Final = "<nil>"
"""The field of causes about the object as a whole, as upstream prints it."""


class _Enough(Exception):
    """There are as many causes as anybody reads."""


def validate(
    schema: Structural, value: Any, path: str = "", *, old: Any = ABSENT, budget: list[int] | None = None
) -> list[Cause]:
    """What is wrong with a value; empty when nothing is. `budget` holds what patterns may still take.

    What is as in `old` is not judged anew, so that objects from before a rule can still be changed elsewhere. Source:
    Kubernetes documentation, "Validation ratcheting".
    """
    walk = _Validation([BUDGET] if budget is None else budget)
    with contextlib.suppress(_Enough):
        walk.visit(schema, value, path, old)
    return walk.causes


class _Validation:
    def __init__(self, budget: list[int]) -> None:
        self.causes: list[Cause] = []
        self._budget = budget

    def visit(self, schema: Structural, value: Any, path: str, old: Any) -> None:
        if value is None and schema.nullable:
            return
        if old is not ABSENT and equal(value, old):
            return
        if not self._has_type(schema, value, path):
            return
        if schema.rules and value is not None:
            self._rules(schema, value, path)
        kind = type(value)
        if kind is dict:
            self._object(schema, value, path, old)
        elif kind is list:
            self._array(schema, value, path, old)
        if schema.junctors or schema.negated is not None:
            self._junctors(schema, value, path)

    def _has_type(self, schema: Structural, value: Any, path: str) -> bool:
        wanted = ("integer", "string") if schema.int_or_string else (schema.type,) if schema.type else ()
        found = type_name(value)
        if not wanted or found in wanted:
            return True
        if found == "integer" and "number" in wanted:
            return True
        if found == "number" and "integer" in wanted and float(value).is_integer():
            return True
        self._refuse(
            path,
            "FieldValueTypeInvalid",
            f"{_quoted(found)}: {_told(path)} must be of type {','.join(wanted)}: {_quoted(found)}",
        )
        return False

    def _rules(self, schema: Structural, value: Any, path: str) -> None:
        rules = schema.rules
        if "enum" in rules and not any(equal(value, allowed) for allowed in rules["enum"]):
            known = ", ".join(_quoted(item if isinstance(item, str) else _json(item)) for item in rules["enum"])
            self._add(path, "FieldValueNotSupported", f"Unsupported value: {_json(value)}: supported values: {known}")
        if type(value) is str:
            self._text(rules, value, path)
        elif type(value) in (int, float):
            self._number(rules, value, path)
        elif type(value) is dict:
            self._count(rules, "Properties", "properties", len(value), value, path)
        elif type(value) is list:
            self._count(rules, "Items", "items", len(value), value, path)

    def _text(self, rules: dict[str, Any], value: str, path: str) -> None:
        if len(value) > rules.get("maxLength", math.inf):
            self._add(path, "FieldValueTooLong", f"Too long: may not be more than {rules['maxLength']} bytes")
        if len(value) < rules.get("minLength", 0):
            self._invalid(path, value, f"should be at least {rules['minLength']} chars long")
        pattern = rules.get("pattern")
        if pattern:
            self._pattern(pattern, value, path)
        if "format" in rules and not fits(rules["format"], value):
            shown = _json(value)
            told = f"{shown}: {_told(path)} must be of type {rules['format']}: {shown}"
            self._refuse(path, "FieldValueTypeInvalid", told)

    def _pattern(self, pattern: str, value: str, path: str) -> None:
        try:
            self._budget[0] -= cost(pattern, value)
            if self._budget[0] < 0:
                self._invalid(
                    path, value[:64], "cannot be checked: matching the patterns of this object takes too long"
                )
                raise _Enough
            if not found_in(pattern, value):
                self._invalid(path, value, f"should match '{pattern}'")
        except InvalidPattern as error:
            self._invalid(path, value, f"cannot be checked against '{pattern}': {error}")

    def _number(self, rules: dict[str, Any], value: float, path: str) -> None:
        most, least, step = rules.get("maximum"), rules.get("minimum"), rules.get("multipleOf")
        if most is not None and (value > most or (value == most and rules.get("exclusiveMaximum"))):
            how = "less than" if rules.get("exclusiveMaximum") else "less than or equal to"
            self._invalid(path, value, f"should be {how} {_number(most)}")
        if least is not None and (value < least or (value == least and rules.get("exclusiveMinimum"))):
            how = "greater than" if rules.get("exclusiveMinimum") else "greater than or equal to"
            self._invalid(path, value, f"should be {how} {_number(least)}")
        if step and not _is_multiple(value, step):
            self._invalid(path, value, f"should be a multiple of {_number(step)}")
        if "format" in rules and not fits(rules["format"], value):
            self._invalid(path, value, f"must be of type {rules['format']}: {_quoted(_json(value))}")

    def _count(self, rules: dict[str, Any], suffix: str, what: str, count: int, value: Any, path: str) -> None:
        most, least = rules.get(f"max{suffix}"), rules.get(f"min{suffix}", 0)
        if most is not None and count > most:
            self._add(path, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")
        if count < least:
            self._invalid(path, count, f"should have at least {least} {what}")

    def _object(self, schema: Structural, value: dict[str, Any], path: str, old: Any) -> None:
        prefix = f"{path}." if path else ""
        for name in schema.required:
            if name not in value:
                self._add(prefix + name, "FieldValueRequired", "Required value")
        properties, additional = schema.properties, schema.additional
        for name, item in value.items():
            child = properties.get(name) or additional
            if child is not None:
                before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
                self.visit(child, item, prefix + name, before)

    def _array(self, schema: Structural, value: list[Any], path: str, old: Any) -> None:
        if schema.items is not None:
            for index, (item, before) in enumerate(zip(value, correlated(schema, value, old))):
                self.visit(schema.items, item, f"{path}[{index}]", before)
        if schema.list_type in ("set", "map"):
            seen: set[bytes] = set()
            for index, identity in enumerate(_identities(schema, value)):
                if identity in seen:
                    self._add(f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {identity.decode()}")
                seen.add(identity)

    def _junctors(self, schema: Structural, value: Any, path: str) -> None:
        for name, alternatives in schema.junctors:
            found = [validate(alternative, value, path, budget=self._budget) for alternative in alternatives]
            valid = sum(not causes for causes in found)
            if name == "allOf":
                for causes in found:
                    self._extend(causes)
                if valid < len(found):
                    why = ". None validated" if not valid else ""
                    self._junctor(path, f"must validate all the schemas (allOf){why}")
            elif name == "anyOf" and not valid:
                self._extend(min(found, key=len))
                self._junctor(path, "must validate at least one schema (anyOf)")
            elif name == "oneOf" and valid != 1:
                if not valid:
                    self._extend(min(found, key=len))
                how = f"Found {valid} valid alternatives" if valid else "Found none valid"
                self._junctor(path, f"must validate one and only one schema (oneOf). {how}")
        if schema.negated is not None and not validate(schema.negated, value, path, budget=self._budget):
            self._junctor(path, "must not validate the schema (not)")

    def _junctor(self, path: str, message: str) -> None:
        self._add(ROOT, "FieldValueInvalid", f'Invalid value: "": {_quoted(path)} {message}')

    def _invalid(self, path: str, value: Any, message: str) -> None:
        self._refuse(path, "FieldValueInvalid", f"{_json(value)}: {_told(path)} {message}")

    def _refuse(self, path: str, reason: str, rest: str) -> None:
        self._add(path, reason, f"Invalid value: {rest}")

    def _add(self, path: str, reason: str, message: str) -> None:
        self.causes.append(Cause(path or ROOT, reason, message))
        if len(self.causes) >= _MOST:
            raise _Enough

    def _extend(self, causes: list[Cause]) -> None:
        for cause in causes:
            self._add(*cause)


def type_name(value: Any) -> str:
    """The JSON type of a value."""
    return _TYPES[type(value)]


_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


def equal(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def correlated(schema: Structural, value: list[Any], old: Any) -> Iterator[Any]:
    """For each entry of a keyed list the one of before with the same keys; ABSENT where there is none to be had."""
    if schema.list_type != "map" or not isinstance(old, list):
        yield from itertools.repeat(ABSENT, len(value))
        return
    before = dict(zip(_identities(schema, old), old))
    for identity in _identities(schema, value):
        yield before.get(identity, ABSENT)


def _identities(schema: Structural, value: list[Any]) -> Iterator[bytes]:
    """What must differ between the entries of a set or keyed list; other entries are left to the check of types."""
    for index, item in enumerate(value):
        if schema.list_type == "set":
            yield orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        elif isinstance(item, dict):
            keys = {key: item[key] for key in schema.list_map_keys if key in item}
            yield orjson.dumps(keys, option=orjson.OPT_SORT_KEYS)
        else:
            yield b"%d" % index


def _is_multiple(value: float, step: float) -> bool:
    quotient = value / step
    return math.isfinite(quotient) and math.isclose(quotient, round(quotient), rel_tol=0, abs_tol=1e-9)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e21 else repr(value)


def _told(path: str) -> str:
    return f"{path} in body" if path else '"" in body'


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
