"""The table of messages, and the plan of each message that decoding follows. A plan is made when first needed."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

SCALARS: Final = frozenset(("string", "bool", "int32", "int64", "bytes", "double"))


class Field(NamedTuple):
    """A field of a message: `type` is a scalar or the name of a message."""

    name: str
    """Empty when the fields of the message belong to its parent."""
    type: str
    shape: str
    """`one`, `list` or `map` (from string)."""
    keep_zero: bool
    """A zero on the wire is meant, and appears in JSON."""


Plan = dict[int, Field]


@lru_cache(maxsize=1)
def _lines() -> dict[str, str]:
    text = resources.files(__package__).joinpath("messages.txt").read_text()
    lines = (line.partition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: rest for name, _, rest in lines}


@lru_cache(maxsize=512)
def plan(message: str) -> Plan:
    """The fields of a message by number. Raises KeyError for a message that is not in the table."""
    package = message.rpartition(".")[0]
    found: Plan = {}
    for entry in _lines()[message].split():
        number, name, type_, *flags = entry.split(":")
        shape = {"*": "list", "{": "map"}.get(type_[0], "one")
        type_ = type_.strip("*{}")
        if type_.startswith("."):
            type_ = package + type_
        found[int(number)] = Field(name, type_, shape, not flags or "P" in flags[0])
    return found


_PACKAGES: Final = {
    "": "core",
    "rbac.authorization.k8s.io": "rbac",
}


def message_of(api_version: str, kind: str) -> str | None:
    """The message that encodes a kind, None when it is not in the table."""
    if kind == "DeleteOptions":
        # Clients label it with the group and version of what they delete.
        return "meta.v1.DeleteOptions"
    group, _, version = api_version.rpartition("/")
    package = _PACKAGES.get(group) or group.partition(".")[0]
    name = f"{package}.{version}.{kind}"
    return name if name in _lines() else None
