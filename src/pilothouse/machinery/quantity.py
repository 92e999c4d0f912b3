"""Resource quantities: `500m`, `1.5Gi`, `2e3`.

Source of the grammar and of the canonical form: `k8s.io/apimachinery/pkg/api/resource`. Arithmetic is exact;
what is finer than a billionth is rounded away from zero, and values are capped at 2**63 - 1, as upstream does.
"""

from __future__ import annotations

import re
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(.*)", re.ASCII | re.DOTALL)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]{1,9})", re.ASCII)
_MAX = Fraction(2**63 - 1)
_NANO = 10**9


class InvalidQuantity(ValueError):
    """The text is not a quantity; the message repeats it."""


class Format(Enum):
    """How a quantity was written, which its canonical form keeps."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


class Quantity(NamedTuple):
    """A number and the notation it was written in. `str()` gives the canonical text."""

    value: Fraction
    format: Format = Format.DECIMAL_SI

    @classmethod
    def parse(cls, text: str | int | float) -> Quantity:
        """Raises InvalidQuantity."""
        return _parse(text if isinstance(text, str) else _number_text(text))

    def __str__(self) -> str:
        value = self.value
        if not value:
            return "0"
        if self.format is Format.BINARY_SI and abs(value) >= 1024 and value.denominator == 1:
            return _binary_text(int(value))
        return _decimal_text(value, self.format)


def parse_quantity(text: str | int | float) -> Fraction:
    """The exact number a quantity stands for. Raises InvalidQuantity."""
    return Quantity.parse(text).value


def canonical(text: str | int | float) -> str:
    """The canonical text of a quantity: `1000m` is `1`, `1024Mi` is `1Gi`, `0.5` is `500m`."""
    return _canonical(text if isinstance(text, str) else _number_text(text))


@lru_cache(maxsize=2048)
def _canonical(text: str) -> str:
    return str(_parse(text))


def cpu_millis(text: str | int | float) -> int:
    """CPU in thousandths of a core, rounded up."""
    return _round_up(parse_quantity(text) * 1000)


def to_bytes(text: str | int | float) -> int:
    """A whole number of bytes (or of anything else that is counted), rounded up."""
    return _round_up(parse_quantity(text))


def _number_text(number: int | float) -> str:
    if isinstance(number, bool):
        raise InvalidQuantity(f"invalid quantity {number!r}: a number or a text such as 500m or 1Gi is needed")
    return repr(number)


@lru_cache(maxsize=2048)
def _parse(text: str) -> Quantity:
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise InvalidQuantity(
            f"invalid quantity {text!r}: quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    sign, whole, decimals, suffix = match[1], match[2], match[3] or "", match[4]
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    if suffix in _BINARY:
        value, form = value * 1024 ** _BINARY[suffix], Format.BINARY_SI
    elif suffix in _DECIMAL:
        value, form = _scaled(value, _DECIMAL[suffix]), Format.DECIMAL_SI
    else:
        exponent = _EXPONENT.fullmatch(suffix)
        if exponent is None:
            raise InvalidQuantity(f"invalid quantity {text!r}: unable to parse quantity's suffix {suffix!r}")
        value, form = _scaled(value, int(exponent[1])), Format.DECIMAL_EXPONENT
    value = min(Fraction(_round_up(value * _NANO), _NANO), _MAX)
    return Quantity(-value if sign == "-" else value, form)


def _scaled(value: Fraction, exponent: int) -> Fraction:
    # Bounded first: a thousand-digit exponent must not become a thousand-digit number.
    if not value or -40 <= exponent <= 40:
        return value * Fraction(10) ** max(min(exponent, 40), -40)
    return _MAX if exponent > 0 else Fraction(1, _NANO)


def _round_up(value: Fraction) -> int:
    """Away from zero for negative values too."""
    return -(-value.numerator // value.denominator) if value >= 0 else value.numerator // value.denominator


def _binary_text(number: int) -> str:
    power = 0
    while power < 6 and number % 1024 == 0:
        number //= 1024
        power += 1
    return f"{number}{_BINARY_SUFFIX[power] if power else ''}"


def _decimal_text(value: Fraction, form: Format) -> str:
    number, exponent = int(value * _NANO), -9
    while exponent < 18 and number % 1000 == 0:
        number //= 1000
        exponent += 3
    if form is Format.DECIMAL_EXPONENT:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIX[exponent]}"
