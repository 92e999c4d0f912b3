"""Semantic versions. Source: Kubernetes `library/semverlib.go` (semver.org 2.0.0; normalisation since 1.34)."""

from __future__ import annotations

import re

from pilothouse.policy.cel.budget import Budget
from pilothouse.policy.cel.errors import EvaluationError
from pilothouse.policy.cel.library import costs
from pilothouse.policy.cel.registry import function
from pilothouse.policy.cel.values import INT_MAX, Opaque

_NUMBER = r"0|[1-9][0-9]*"
_PART = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PART}(?:\.{_PART})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_LONGEST = 1024

_Key = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


class Semver(Opaque):
    """A version; equal to another of the same precedence."""

    __slots__ = ("key",)
    TYPE = "kubernetes.Semver"

    def __init__(self, text: str) -> None:
        """Raises ValueError."""
        found = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None or max(int(found[index]) for index in (1, 2, 3)) > INT_MAX:
            raise ValueError(text)
        before = tuple(
            (False, int(part), "") if part.isdigit() else (True, 0, part)
            for part in (found[4] or "").split(".")
            if part
        )
        self.key: _Key = (int(found[1]), int(found[2]), int(found[3]), not before, before)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


def normalized(text: str) -> str:
    """Without a leading `v` and leading zeros, with minor and patch: `v01.1` is `1.1.0`."""
    core, mark, rest = re.fullmatch(r"([^-+]*)([-+]?)(.*)", text.removeprefix("v"), re.DOTALL).groups()  # type: ignore[union-attr]
    parts = [part.lstrip("0") or "0" if part.isdigit() else part for part in core.split(".")]
    if len(parts) < 3 and mark:
        return text
    return ".".join(parts + ["0"] * (3 - len(parts))) + mark + rest


@function(":semver(string) -> Semver", ":semver(string, bool) -> Semver", cost=costs.traverse)
def _(budget: Budget, text: str, normalize: bool = False) -> Semver:
    try:
        return Semver(normalized(text) if normalize else text)
    except ValueError:
        parts = re.split(r"[-+]", normalized(text) if normalize else text)[0].split(".")
        why = "No Major.Minor.Patch elements found" if len(parts) < 3 else f"Invalid Semantic Version: {text}"
        raise EvaluationError(why) from None


@function(":isSemver(string) -> bool", ":isSemver(string, bool) -> bool", cost=costs.traverse)
def _(budget: Budget, text: str, normalize: bool = False) -> bool:
    try:
        Semver(normalized(text) if normalize else text)
    except ValueError:
        return False
    return True


@function("Semver.major() -> int")
def _(budget: Budget, version: Semver) -> int:
    return version.key[0]


@function("Semver.minor() -> int")
def _(budget: Budget, version: Semver) -> int:
    return version.key[1]


@function("Semver.patch() -> int")
def _(budget: Budget, version: Semver) -> int:
    return version.key[2]


@function("Semver.isGreaterThan(Semver) -> bool")
def _(budget: Budget, version: Semver, other: Semver) -> bool:
    return version.key > other.key


@function("Semver.isLessThan(Semver) -> bool")
def _(budget: Budget, version: Semver, other: Semver) -> bool:
    return version.key < other.key


@function("Semver.compareTo(Semver) -> int")
def _(budget: Budget, version: Semver, other: Semver) -> int:
    return (version.key > other.key) - (version.key < other.key)
