"""os-release: which operating system. Source: os-release(5)."""

from __future__ import annotations

import shlex

from pilothouse.guard.images.model import System

_FIELDS = ("ID", "VERSION_ID", "VERSION_CODENAME", "PRETTY_NAME", "ID_LIKE")


def read_os_release(text: str) -> dict[str, str]:
    """The fields we use."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key in _FIELDS:
            try:
                found[key] = " ".join(shlex.split(value))
            except ValueError:
                found[key] = value.strip("\"'")
    return found


def system_of(fields: dict[str, str]) -> System | None:
    """The system, or None when the file does not name one."""
    if not fields.get("ID"):
        return None
    return System(
        fields["ID"].lower(),
        fields.get("VERSION_ID", ""),
        fields.get("VERSION_CODENAME", ""),
        fields.get("PRETTY_NAME", ""),
        fields.get("ID_LIKE", ""),
    )
