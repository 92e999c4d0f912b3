"""Rules that ConfigMaps and Secrets share: their keys, their size, and that an immutable one stays as it is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from pilothouse.kinds.problems import Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

MAX_BYTES = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"


def check_keys(data: Obj, path: str, problems: Problems) -> None:
    """Keys become file names."""
    for key in data:
        if messages := names.config_key(key):
            problems.invalid_each(f"{path}[{key}]", key, messages)


def encoded_size(data: Obj, path: str, problems: Problems) -> int:
    """The bytes that base64 values stand for; reports values that are not base64."""
    total = 0
    for key, value in data.items():
        try:
            total += len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            problems.invalid(f"{path}[{key}]", "<contents not shown>", "must be base64; use stringData for plain text")
    return total


def check_frozen(obj: Obj, old: Obj, fields: Sequence[str], problems: Problems) -> None:
    """Once `immutable` is true, neither it nor the data may change."""
    if not old.get("immutable"):
        return
    if not obj.get("immutable"):
        problems.forbidden("immutable", _FROZEN)
    for field in fields:
        if (obj.get(field) or {}) != (old.get(field) or {}):
            problems.forbidden(field, _FROZEN)
