"""Named formats of text. Source: Kubernetes `library/format.go`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import date
from math import ceil
from typing import Any

from pilothouse.machinery import names
from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs, times
from pilothouse.policy.cel.library.urls import Url
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import NONE, Opaque, Optional, size

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.I | re.ASCII)
_Check = Callable[[str], list[str]]


class Format(Opaque):
    """A format; `length` is that of the pattern upstream assumes for the cost."""

    __slots__ = ("check", "length", "name")
    TYPE = "kubernetes.NamedFormat"

    def __init__(self, name: str, check: _Check, length: int) -> None:
        self.name = name
        self.check = check
        self.length = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def _prefix(check: _Check) -> _Check:
    """The start of a name: it may end in a dash."""
    return lambda text: check(text[:-1] + "a" if len(text) > 1 and text.endswith("-") else text)


def _unless(holds: Callable[[str], object], says: str) -> _Check:
    def check(text: str) -> list[str]:
        try:
            return [] if holds(text) else [says]
        except (ValueError, EvaluationError):
            return [says]

    return check


def _uri(text: str) -> list[str]:
    try:
        Url(text)
    except ValueError as error:
        return [f'parse "{text}": {error}']
    return []


def _base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return bool(text)


_CHECKS: Mapping[str, tuple[_Check, int]] = {
    "dns1123Label": (names.dns1123_label, 30),
    "dns1123Subdomain": (names.dns1123_subdomain, 60),
    "dns1035Label": (names.dns1035_label, 30),
    "qualifiedName": (names.label_key, 60),
    "dns1123LabelPrefix": (_prefix(names.dns1123_label), 30),
    "dns1123SubdomainPrefix": (_prefix(names.dns1123_subdomain), 60),
    "dns1035LabelPrefix": (_prefix(names.dns1035_label), 30),
    "labelValue": (names.label_value, 40),
    "uri": (_uri, 1000),
    "uuid": (_unless(_UUID.fullmatch, "does not match the UUID format"), 75),
    "byte": (_unless(_base64, "invalid base64"), 80),
    "date": (_unless(lambda text: len(text) == 10 and date.fromisoformat(text), "invalid date"), 100),
    "datetime": (_unless(times.parse_timestamp, "invalid datetime"), 100),
}
FORMATS: Mapping[str, Format] = {name: Format(name, check, length) for name, (check, length) in _CHECKS.items()}


def _declare(found: Format) -> None:
    @function(f":format.{found.name}() -> Format")
    def _(budget: Budget) -> Format:
        return found


for _format in FORMATS.values():
    _declare(_format)


@function(":format.named(string) -> optional(Format)")
def _(budget: Budget, name: str) -> Optional:
    return Optional(FORMATS[name], True) if name in FORMATS else NONE


def _validate_cost(found: Format, text: Any) -> int:
    return ceil((1 + size(text)) * costs.TRAVERSAL) * ceil(found.length * costs.REGEX)


@function("Format.validate(string) -> optional(list(string))", cost=_validate_cost)
def _(budget: Budget, found: Format, text: str) -> Optional:
    problems = found.check(text)
    return Optional(problems, True) if problems else NONE
