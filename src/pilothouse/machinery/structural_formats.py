"""The `format`s of text and numbers that are checked; others say nothing, as upstream.

Source: `k8s.io/kube-openapi/pkg/validation/strfmt`.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_UUID: Final = r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_HOSTNAME: Final = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_MAC: Final = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}")
_EMAIL: Final = re.compile(r"[^@\s<>\"]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S*|/\S*")
_DURATION: Final = re.compile(
    r"[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)(\s*(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w))*|0"
)
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _date_time(text: str) -> bool:
    return _DATE_TIME.fullmatch(text) is not None and _parses(dt.datetime.fromisoformat)(text.upper())


def _date(text: str) -> bool:
    return len(text) == 10 and _parses(dt.date.fromisoformat)(text)


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _hostname(text: str) -> bool:
    return len(text) <= 253 and _HOSTNAME.fullmatch(text) is not None


TEXT_FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "byte": _parses(lambda text: base64.b64decode(text, validate=True)),
    "cidr": lambda text: "/" in text and _parses(lambda cidr: ipaddress.ip_network(cidr, strict=False))(text),
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": _matches(_DURATION),
    "email": _matches(_EMAIL),
    "hostname": _hostname,
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "mac": _matches(_MAC),
    "uri": _matches(_URI),
    "uuid": _matches(re.compile(_UUID % ("[0-9a-f]", "[0-9a-f]"))),
    "uuid3": _matches(re.compile(_UUID % ("3", "[0-9a-f]"))),
    "uuid4": _matches(re.compile(_UUID % ("4", "[89ab]"))),
    "uuid5": _matches(re.compile(_UUID % ("5", "[89ab]"))),
}
NUMBER_BOUNDS: Final[Mapping[str, tuple[int, int]]] = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def fits(format_: str, value: Any) -> bool:
    """Whether a text or number has the format; true for formats that are not checked."""
    if isinstance(value, str):
        check = TEXT_FORMATS.get(format_)
        return check is None or check(value)
    bounds = NUMBER_BOUNDS.get(format_)
    return bounds is None or bounds[0] <= value <= bounds[1]
