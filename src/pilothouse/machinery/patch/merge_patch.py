"""JSON merge patch, RFC 7386."""

from __future__ import annotations

from typing import Any

from pilothouse.machinery.errors import BadRequest
from pilothouse.machinery.objects import Obj


def merge_patch(target: Obj, patch: Any) -> Obj:
    """The target with the patch merged in: null removes a field, anything but an object replaces."""
    if not isinstance(patch, dict):
        raise BadRequest("a merge patch is a JSON object with the fields to change")
    return _merge(target, patch)


def _merge(target: Any, patch: Obj) -> Obj:
    result: Obj = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = _merge(result.get(name), value)
        else:
            result[name] = value
    return result
