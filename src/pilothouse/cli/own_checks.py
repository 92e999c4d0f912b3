"""`pilothouse check --checks DIR`: users' own checks from a folder."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.cli.manifests import read
from pilothouse.guard.finding import Check, Item
from pilothouse.guard.own.evaluate import OwnChecks
from pilothouse.guard.own.load import load
from pilothouse.guard.report.document import Unread
from pilothouse.guard.shipped import all_checks


def read_own(folders: Sequence[str]) -> tuple[OwnChecks, list[Unread]]:
    """The checks of these folders or files that can be used, and what is wrong with the others."""
    items: list[Item] = []
    unread: list[Unread] = []
    for folder in folders:
        manifests, problems = read(folder)
        items += [Item(manifest.tree, manifest.file, manifest.line_of) for manifest in manifests]
        unread += [Unread(problem.file, problem.message, problem.line) for problem in problems]
    if not items:
        return OwnChecks(), unread
    checks, faults = load(items, [check.id for check in all_checks()])
    return OwnChecks(checks), unread + [Unread(fault.file, fault.message, fault.line) for fault in faults]


def known_checks(own: OwnChecks) -> list[Check]:
    """Every check there is, own ones first."""
    return [*own.by_policy.values(), *all_checks()]
