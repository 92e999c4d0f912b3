"""What policies say about an object. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pilothouse.policy.load import Policy


class Violation(NamedTuple):
    """A rule an object breaks; `audit` holds the values of the policy's audit annotations.

    One that is `remembered` is the very same for all objects that have the essence in common.
    """

    policy: Policy
    message: str
    audit: Mapping[str, str]
    remembered: bool = False


Answer = Violation | str
"""How a policy is broken; or that it is not, or does not mean the object."""


class NotChecked(NamedTuple):
    """A policy that could not be evaluated for an object, and why."""

    policy: Policy
    reason: str


class Verdict(NamedTuple):
    """What all policies say about one object."""

    violations: tuple[Violation, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    passed: tuple[Policy, ...] = ()


class EvaluationError(Exception):
    """An expression gave an error or a value of another type."""
