"""Which revision a list is of, and where its pages break. Pure.

Source: Kubernetes API concepts, "Semantics for get and list" and "Retrieving large results sets in chunks".
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec

from pilothouse.apiserver import refusals
from pilothouse.machinery.errors import BadRequest, Cause, Invalid


class Position(NamedTuple):
    """Where a list starts: at which revision (None: the latest), and after which key."""

    revision: int | None
    after: str = ""


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str


_TOKENS = msgspec.json.Decoder(_Token)
_FORMAT = "meta.k8s.io/v1"


def encode_continue(revision: int, last_key: str) -> str:
    """An opaque token: the list of `revision` goes on after `last_key`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(_FORMAT, revision, last_key))).decode().rstrip("=")


def _decode_continue(token: str) -> Position:
    try:
        found = _TOKENS.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"continue key is not valid: {error}") from error
    if found.v != _FORMAT:
        raise BadRequest(f"continue key is not valid: server does not recognize this encoded version {found.v!r}")
    return Position(found.rv, found.start)


def position(params: dict[str, str], current: int) -> Position:
    """Where the list that the query parameters ask for starts. Raises BadRequest, Invalid, Timeout (too large)."""
    version, match = params.get("resourceVersion", ""), params.get("resourceVersionMatch", "")
    token = params.get("continue", "")
    asked = refusals.resource_version(version)
    if match:
        _check_match(match, version, token)
    if token:
        if asked:
            raise BadRequest("specifying resource version is not allowed when using continue")
        found = _decode_continue(token)
        if (found.revision or 0) > current:
            raise refusals.version_too_large(found.revision or 0, current)
        return found
    if asked > current:
        raise refusals.version_too_large(asked, current)
    if asked and (match == "Exact" or (not match and limit(params))):
        return Position(asked)
    return Position(None)


def _check_match(match: str, version: str, token: str) -> None:
    why = ""
    if match not in ("Exact", "NotOlderThan"):
        why = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
    elif not version:
        why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    elif token:
        why = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
    elif match == "Exact" and version == "0":
        why = 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
    if why:
        raise invalid_option("resourceVersionMatch", why)


def invalid_option(field: str, why: str) -> Invalid:
    """422 for a list option that cannot be honoured."""
    return Invalid(
        f'ListOptions.meta.k8s.io "" is invalid: {field}: {why}',
        group="meta.k8s.io",
        kind="ListOptions",
        causes=[Cause(field, "FieldValueForbidden" if why.startswith("Forbidden") else "FieldValueNotSupported", why)],
    )


def limit(params: dict[str, str]) -> int:
    """The most items a page may hold, 0 for all. Raises BadRequest."""
    return number(params, "limit")


def number(params: dict[str, str], name: str) -> int:
    """A whole number among the options of a request, not less than 0, which it is when it is missing. Raises
    BadRequest."""
    text = params.get(name, "0") or "0"
    try:
        return max(int(text), 0)
    except ValueError as error:
        raise BadRequest(f'{name}: Invalid value: "{text}": must be a number') from error
