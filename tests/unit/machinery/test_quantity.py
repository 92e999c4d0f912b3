from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.quantity import InvalidQuantity, canonical, cpu_millis, parse_quantity, to_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("0.5Ki", "512"),
        ("1500M", "1500M"),
        ("1e3", "1e3"),
        ("12E", "9223372036854775807"),
        ("0.1n", "1n"),
        ("-100m", "-100m"),
        (".5", "500m"),
        ("0", "0"),
        (2, "2"),
        (0.25, "250m"),
    ],
)
def test_canonical_form(text, expected):
    assert canonical(text) == expected


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1.2.3", "--1", "1Kib", "1e", "five", True])
def test_what_is_no_quantity_is_named(text):
    with pytest.raises(InvalidQuantity, match="invalid quantity"):
        parse_quantity(text)


def test_cpu_and_bytes_round_up():
    assert cpu_millis("1") == 1000
    assert cpu_millis("100u") == 1
    assert to_bytes("1Ki") == 1024
    assert to_bytes("1500m") == 2


def test_a_huge_exponent_costs_nothing():
    assert parse_quantity("1e999999999") == 2**63 - 1
    assert parse_quantity("1e-999999999") == Fraction(1, 10**9)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "Ki", "Mi", "u", "e3", "n"]))
def test_canonical_text_keeps_the_value(number, suffix):
    text = f"{number}{suffix}"
    assert parse_quantity(canonical(text)) == parse_quantity(text)
    assert canonical(canonical(text)) == canonical(text)
