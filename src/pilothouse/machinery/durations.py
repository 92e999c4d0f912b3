"""Lengths of time as Go writes them, `1h30m` or `1.5s`. Source: Go's `time.ParseDuration`."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


class InvalidDuration(ValueError):
    """The text is no length of time; the message repeats it."""


def parse_duration(text: str) -> float:
    """The seconds of a length of time that is not negative. Raises InvalidDuration."""
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        raise InvalidDuration(f"{text!r} is no length of time such as 90s, 10m or 1h30m")
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)
