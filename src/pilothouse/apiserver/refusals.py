"""Errors in the words clients know, each built in one place."""

from __future__ import annotations

from pilothouse.machinery.errors import (
    AlreadyExists,
    BadRequest,
    Cause,
    Conflict,
    Expired,
    MethodNotAllowed,
    NotFound,
    Timeout,
)
from pilothouse.machinery.objects import Resource


def qualified(resource: Resource) -> str:
    """`deployments.apps`, or `pods` in the core group."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def not_found(resource: Resource, name: str) -> NotFound:
    return NotFound(f'{qualified(resource)} "{name}" not found', group=resource.group, kind=resource.plural, name=name)


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    return AlreadyExists(
        f'{qualified(resource)} "{name}" already exists', group=resource.group, kind=resource.plural, name=name
    )


def conflict(resource: Resource, name: str, why: str = "") -> Conflict:
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    return Conflict(
        f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {why}',
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def method_not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def no_such_path() -> NotFound:
    return NotFound("the server could not find the requested resource")


def expired(message: str) -> Expired:
    return Expired(message)


def version_too_large(asked: int, current: int) -> Timeout:
    """A resourceVersion this server has not reached: it was issued by another store, or will come."""
    return Timeout(
        f"Too large resource version: {asked}, current: {current}",
        causes=[Cause("", "ResourceVersionTooLarge", "Too large resource version")],
        retry_after_seconds=1,
    )


def resource_version(text: str) -> int:
    """The number in a resourceVersion; "" and "0" are 0. Raises BadRequest."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f'Invalid value: "{text}": resourceVersion must be a decimal number')
    return int(text)
