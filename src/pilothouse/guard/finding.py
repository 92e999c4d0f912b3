"""What a check is, and what it finds. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from pilothouse.machinery.objects import Obj


class Severity(IntEnum):
    """How much a finding matters; higher is worse."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    def __str__(self) -> str:
        return _NAMES[self]

    @classmethod
    def parse(cls, text: str) -> Severity:
        """Raises ValueError naming the severities there are."""
        try:
            return cls[text.upper()]
        except KeyError as error:
            raise ValueError(f"{text!r} is no severity; there are critical, high, medium and low") from error


_NAMES = {severity: severity.name.lower() for severity in Severity}
RENDERED = " (rendered)"
"""Ends the name of a file that helm or kustomize made something from; lines are those of what they made."""
CATEGORIES = ("security", "reliability", "efficiency", "hygiene")


@dataclass(frozen=True, slots=True)
class Check:
    """What is looked for, why it matters and how it is mended."""

    id: str
    title: str
    severity: Severity
    category: str
    why: str
    remedy: str
    standards: str = ""
    other_names: str = ""


class Ref(NamedTuple):
    """An object's identity; `namespace` is "" for what has none."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def ref_of(tree: Obj) -> Ref:
    """The identity of a tree that has at least apiVersion and kind."""
    metadata = tree.get("metadata") or {}
    name = metadata.get("name") or metadata.get("generateName") or ""
    return Ref(str(tree["apiVersion"]), str(tree["kind"]), str(metadata.get("namespace") or ""), str(name))


class Comment(NamedTuple):
    """A comment that accepts findings: what it says, its line, and the first and last line of what it is about (0 when
    there is nothing below it)."""

    text: str
    line: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Item:
    """An object to be judged, and where it was written; `line_of` gives a field path's line (0 when unknown)."""

    tree: Obj
    file: str = ""
    line_of: Callable[[str], int] = dataclasses.field(default=lambda path: 0, repr=False, compare=False)
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where."""

    check: Check
    ref: Ref
    message: str
    container: str = ""
    field: str = ""
    """Path from the object's root, such as `spec.containers[0].image`."""
    file: str = ""
    line: int = 0
    item: int = dataclasses.field(default=-1, repr=False, compare=False)
    """The number of the object among those that were judged together, -1 when that is not known."""

    @property
    def fingerprint(self) -> str:
        """The same for the same finding of another run, wherever the lines have moved to."""
        message = "" if self.container else self.message
        text = f"{self.check.id}|{'|'.join(self.ref)}|{self.container}|{_place(self.field)}|{message}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(4096)
def _place(field: str) -> str:
    """A field path without the numbers of its entries."""
    return re.sub(r"\[\d+]", "[]", field)


@dataclass(frozen=True, slots=True)
class NotEvaluated:
    """A check that could not be answered for an object, or an object that could not be checked, and why."""

    check_id: str
    ref: Ref | None
    reason: str
    file: str = ""
    line: int = 0
    unusual: bool = True
    """False for what is so by design, such as a check that needs parameters nobody gave."""
