"""The checks that ship with Pilothouse: policies from `checks/*.yaml`, functions across objects from `cross/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

import yaml

from pilothouse.guard.cross import CROSS_CHECKS
from pilothouse.guard.exceptions.checks import EXCEPTION_CHECKS
from pilothouse.guard.finding import CATEGORIES, Check, Severity
from pilothouse.guard.schema import SCHEMA_CHECKS
from pilothouse.machinery.objects import Obj
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


def shipped_trees() -> Iterator[Obj]:
    """Every policy of `checks/` as written, in order of file and place."""
    folder = resources.files("pilothouse.guard") / "checks"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda e: e.name)
    for file in files:
        yield from yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)


@cache
def shipped_policies() -> tuple[Policy, ...]:
    """The policies of `shipped_trees`."""
    return tuple(load_policy(tree) for tree in shipped_trees())


def other_checks() -> list[Check]:
    """The checks that are no policies: of form, across objects, of exceptions."""
    return [*(cross.check for cross in CROSS_CHECKS), *SCHEMA_CHECKS, *EXCEPTION_CHECKS]


def all_checks() -> list[Check]:
    """Every check there is, by id."""
    policies: Iterable[Check] = (check_of(policy) for policy in shipped_policies())
    return sorted((*policies, *other_checks()), key=lambda check: check.id)
