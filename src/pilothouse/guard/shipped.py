"""The checks that ship with Pilothouse: policies from `checks/*.yaml`, functions across objects from `cross/`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import resources

import yaml

from pilothouse.guard.cross import CROSS_CHECKS
from pilothouse.guard.exceptions.checks import EXCEPTION_CHECKS
from pilothouse.guard.finding import CATEGORIES, Check, Severity
from pilothouse.guard.schema import SCHEMA_CHECKS
from pilothouse.policy.load import InvalidPolicy, Policy, load_policy

_PREFIX = "pilothouse.io/"
_NEEDED = ("id", "title", "severity", "category", "why", "remedy")


def check_of(policy: Policy) -> Check:
    """What a policy's annotations say of it. Raises InvalidPolicy naming one that is missing or wrong."""
    found = {key: policy.annotations.get(_PREFIX + key, "") for key in (*_NEEDED, "standards", "other-names")}
    for key in _NEEDED:
        if not found[key]:
            raise InvalidPolicy(f"{policy.name}: annotation {_PREFIX}{key} is missing")
    if found["category"] not in CATEGORIES:
        raise InvalidPolicy(f"{policy.name}: annotation {_PREFIX}category is none of {', '.join(CATEGORIES)}")
    try:
        severity = Severity.parse(found["severity"])
    except ValueError as error:
        raise InvalidPolicy(f"{policy.name}: annotation {_PREFIX}severity: {error}") from error
    return Check(
        found["id"],
        found["title"],
        severity,
        found["category"],
        found["why"],
        found["remedy"].rstrip("\n"),
        found["standards"],
        found["other-names"],
    )


@cache
def shipped_policies() -> tuple[Policy, ...]:
    """Every policy of `checks/`, in order of file and place."""
    folder = resources.files("pilothouse.guard") / "checks"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda e: e.name)
    return tuple(
        load_policy(tree)
        for file in files
        for tree in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
        if tree is not None
    )


def all_checks() -> list[Check]:
    """Every check there is, by id."""
    policies: Iterable[Check] = (check_of(policy) for policy in shipped_policies())
    return sorted(
        (*policies, *(c.check for c in CROSS_CHECKS), *SCHEMA_CHECKS, *EXCEPTION_CHECKS), key=lambda check: check.id
    )
