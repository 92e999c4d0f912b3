"""What an audit log tells of subjects, and the least rights."""

from __future__ import annotations

import datetime as dt

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.guard.access.rights import Asked
from pilothouse.guard.access.usage import MOST_NAMES, Used, least, replay, usage_of


def event(user: str, verb: str, at: str, resource: str = "pods", **more: object) -> bytes:
    ref = {"resource": resource, "namespace": "shop", "apiVersion": "v1", "name": more.pop("name", "")}
    tree = {"kind": "Event", "verb": verb, "user": {"username": user, "groups": []}, "objectRef": ref}
    return orjson.dumps({**tree, "requestReceivedTimestamp": at, **more})


def test_last_use_window_and_lines_that_are_none() -> None:
    lines = [
        event("ann", "list", "2026-11-01T10:00:00.000000Z"),
        event("ann", "list", "2026-11-03T10:00:00.000000Z"),
        b"half a li",
        event("bob", "get", "2026-11-02T10:00:00.000000Z", name="x"),
        event("eve", "get", "2026-11-02T11:00:00.000000Z", annotations={"authorization.k8s.io/decision": "forbid"}),
    ]
    usage = usage_of(lines)
    assert (usage.start[:10], usage.end[:10], usage.unread) == ("2026-11-01", "2026-11-03", 1)
    assert {user: used.last[:10] for user, used in usage.by_user.items()} == {"ann": "2026-11-03", "bob": "2026-11-02"}
    later = usage_of(lines, dt.datetime(2026, 11, 3, tzinfo=dt.UTC))
    assert set(later.by_user) == {"ann"}


def test_impersonation_is_use_by_the_impersonated() -> None:
    usage = usage_of([event("root", "get", "2026-11-01T10:00:00Z", impersonatedUser={"username": "ann"}, name="x")])
    assert set(usage.by_user) == {"ann"}


def test_few_names_are_named_and_many_are_not() -> None:
    def used(count: int) -> Used:
        return Used({Asked("get", "", "secrets", "", "shop", f"s{n}"): "" for n in range(count)})

    assert least(used(2))[0].rules[0].resource_names == ["s0", "s1"]
    assert least(used(MOST_NAMES + 1))[0].rules[0].resource_names == []


KINDS = (("", "pods", ""), ("", "pods", "log"), ("apps", "deployments", ""), ("", "secrets", ""))
UNIVERSE = [
    Asked(verb, group, resource, sub, namespace, "" if verb in ("list", "create") else name)
    for verb in ("get", "list", "create", "delete")
    for group, resource, sub in (
        ("", "pods", ""),
        ("", "pods", "log"),
        ("apps", "deployments", ""),
        ("", "secrets", ""),
    )
    for namespace in ("shop", "bank", "")
    for name in ("x", "y")
] + [Asked("get", path="/metrics"), Asked("get", path="/healthz")]


@given(st.sets(st.sampled_from(UNIVERSE), min_size=1))
def test_what_was_used_passes_and_everything_else_is_refused(requests: set[Asked]) -> None:
    needed = least(Used(dict.fromkeys(requests, "")))
    assert replay(needed, requests) == []
    # What counts everywhere counts in each namespace too; that was used, so it is no surprise.
    wide = {(a.verb, a.group, a.resource, a.subresource, a.name) for a in requests if not a.namespace and not a.path}
    others = [
        asked
        for asked in set(UNIVERSE) - requests
        if (asked.verb, asked.group, asked.resource, asked.subresource, asked.name) not in wide
    ]
    assert set(replay(needed, others)) == set(others)
