"""Every case of the checks' own tables: live as from the file, after the server's defaults where the API takes it."""

from __future__ import annotations

import copy
from collections import Counter

import orjson
from test_cases import CASES, _objects

from pilothouse.guard.exceptions.checks import EXCEPTION_CHECKS
from pilothouse.guard.finding import Finding, Item
from pilothouse.guard.judge import judge
from pilothouse.guard.live.checks import OWNERLESS, UNCHECKED, LiveChecks
from pilothouse.guard.live.documents import is_managed, trim
from pilothouse.guard.live.world import World
from pilothouse.guard.shipped import all_checks
from pilothouse.kinds.catalogue import by_kind
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

MENDED_BY_THE_SERVER = {
    "limit-range-without-defaults",  # a LimitRange's maximum becomes its default
    "schema-error",  # a field that there is none of is dropped
    "pod-deprecated-service-account",  # serviceAccount is written as serviceAccountName too
}

NEVER_LIVE = {
    *("image-registry-not-allowed", "required-labels"),  # nobody gives parameters
    "pod-deprecated-service-account",  # mended by the server
    *(check.id for check in EXCEPTION_CHECKS),  # exceptions are read from files, and from a cluster by the desk
}


def kind_of(tree: Obj) -> Kind | None:
    group, _, version = str(tree.get("apiVersion", "")).rpartition("/")
    return by_kind(group, version, str(tree.get("kind")))


async def made(trees: list[Obj]) -> list[Obj] | None:
    """The objects as the server keeps them; None when it does not take one."""
    found = []
    async with ControlPlane() as plane:
        for tree in trees:
            kind = kind_of(tree)
            try:
                if kind is None:
                    return None
                body = copy.deepcopy(tree)
                found.append(await plane.client().create_tree(kind.resource, body, body["metadata"].get("namespace")))
            except ApiError:
                return None
    return found


def key(finding: Finding) -> tuple[str, ...]:
    return finding.check.id, finding.ref.kind, finding.ref.name, finding.container, finding.field


def live(trees: list[Obj]) -> set[tuple[str, ...]]:
    checks = LiveChecks(World(), lambda ref: "somebody")
    for tree in trees:
        if not is_managed(tree):
            checks.put(orjson.dumps(trim(tree)))
    reports = {}
    while len(checks):
        report = checks.step()
        reports[report.subject] = report
    found = (entry.finding for report in reports.values() for entry in report.found)
    return {key(finding) for finding in found if finding.check not in (OWNERLESS, UNCHECKED)}


async def test_the_verdict_on_what_runs_is_that_on_the_file() -> None:
    taken = 0
    alerting: set[str] = set()
    different: Counter[str] = Counter()
    for name, case in CASES.items():
        for thing in (*case["alert"], *case["quiet"]):
            trees = _objects(thing)
            for tree in trees:
                kind = kind_of(tree)
                tree.setdefault("metadata", {}).setdefault("name", "a")
                if kind is None or kind.resource.namespaced:
                    tree["metadata"].setdefault("namespace", "default")
            kept = await made(trees)
            taken += kept is not None
            filed = {key(f) for f in judge([Item(tree) for tree in trees if not is_managed(tree)]).findings}
            found = live(trees if kept is None else kept)
            different.update(f"{name}: {check}" for check, *_ in filed ^ found if check not in MENDED_BY_THE_SERVER)
            alerting |= {check for check, *_ in filed & found}
    assert not different
    assert taken > 250
    assert {check.id for check in all_checks()} - alerting == NEVER_LIVE
