from typing import Any

import pytest

from pilothouse.apiserver.bootstrap.flow_control import (
    mandatory_levels,
    mandatory_schemas,
    suggested_levels,
    suggested_schemas,
)
from pilothouse.apiserver.flow_control.classify import in_order, read_schema, schema_for
from pilothouse.apiserver.flow_control.levels import limits, read_level, with_mandatory
from pilothouse.apiserver.route import parse
from pilothouse.client.wire import User

SCHEMAS = [read_schema(tree) for tree in (*mandatory_schemas(), *suggested_schemas())]
LEVELS = [read_level(tree) for tree in (*mandatory_levels(), *suggested_levels())]
ORDERED = in_order(SCHEMAS, frozenset(level.name for level in LEVELS))
KNOWN = "system:authenticated"
NODE = User("system:node:n1", ("system:nodes", KNOWN))
BOT = User("system:serviceaccount:ci:bot", ("system:serviceaccounts", "system:serviceaccounts:ci", KNOWN))
MAP = "/api/v1/namespaces/ci/configmaps/a"


@pytest.mark.parametrize(
    ("user", "method", "path", "schema"),
    [
        (User("root", ("system:masters", KNOWN)), "GET", MAP, "exempt"),
        (User("ann", (KNOWN,)), "GET", "/healthz", "probes"),
        (User("ann", (KNOWN,)), "GET", "/version", "global-default"),
        (User("ann", (KNOWN,)), "GET", MAP, "global-default"),
        (NODE, "GET", "/api/v1/nodes/n1", "system-node-high"),
        (NODE, "PATCH", "/api/v1/nodes/n1/status", "system-node-high"),
        (NODE, "GET", "/api/v1/pods", "system-nodes"),
        (BOT, "GET", MAP, "service-accounts"),
        (User("system:serviceaccount:kube-system:x", (KNOWN,)), "GET", MAP, "workload-leader-election"),
        (User("system:serviceaccount:kube-system:x", (KNOWN,)), "DELETE", MAP, "kube-system-service-accounts"),
        (User("nobody"), "GET", MAP, "catch-all"),
    ],
)
def test_the_shipped_schemas_place_requests_as_upstream_does(user: User, method: str, path: str, schema: str) -> None:
    assert schema_for(ORDERED, user, parse(method, path, [])).name == schema


def schema(name: str, precedence: int, **rule: Any) -> Any:
    subjects = [{"kind": "User", "user": {"name": "ann"}}]
    spec = {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "catch-all"}}
    spec["rules"] = [{"subjects": subjects, **rule}]
    return read_schema({"metadata": {"name": name}, "spec": spec})


def resources(**fields: Any) -> Any:
    return {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], **fields}


def test_of_two_that_match_the_lower_precedence_decides_then_the_name() -> None:
    rules = [resources(namespaces=["*"])]
    given = [schema(name, at, resourceRules=rules) for name, at in (("b", 5), ("c", 4), ("a", 5), ("d", 4))]
    ordered = in_order(given, frozenset({"exempt", "catch-all"}))
    assert [found.name for found in ordered] == ["exempt", "c", "d", "a", "b", "catch-all"]
    assert schema_for(ordered, User("ann"), parse("GET", MAP, [])).name == "c"


def test_a_schema_without_its_level_does_not_count() -> None:
    assert "probes" not in [found.name for found in in_order(SCHEMAS, frozenset({"catch-all"}))]


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ({"resourceRules": [resources(namespaces=["ci"])]}, MAP, True),
        ({"resourceRules": [resources(namespaces=["other"])]}, MAP, False),
        ({"resourceRules": [resources(namespaces=["*"])]}, "/api/v1/configmaps", False),
        ({"resourceRules": [resources(clusterScope=True, verbs=["list"])]}, "/api/v1/configmaps", True),
        (
            {"resourceRules": [resources(namespaces=["*"], resources=["pods"])]},
            "/api/v1/namespaces/a/pods/p/log",
            False,
        ),
        (
            {"resourceRules": [resources(namespaces=["*"], resources=["pods/log"])]},
            "/api/v1/namespaces/a/pods/p/log",
            True,
        ),
        ({"nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/openapi/*"]}]}, "/openapi/v3", True),
        ({"nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/openapi/*"]}]}, "/openapi", False),
        ({"nonResourceRules": [{"verbs": ["post"], "nonResourceURLs": ["*"]}]}, "/openapi", False),
    ],
)
def test_rules(rule: Any, path: str, matches: bool) -> None:
    ordered = in_order([schema("mine", 5, **rule)], frozenset({"catch-all"}))
    assert (schema_for(ordered, User("ann"), parse("GET", path, [])).name == "mine") is matches


def test_seats_follow_shares_and_every_limited_level_has_one() -> None:
    found = limits(LEVELS, 600)
    assert found["exempt"].nominal == 0
    assert {name: entry.nominal for name, entry in found.items() if name != "exempt"} == {
        "catch-all": 13,
        "system": 74,
        "node-high": 98,
        "leader-election": 25,
        "workload-high": 98,
        "workload-low": 245,
        "global-default": 49,
    }
    assert found["workload-low"].lower == 245 - round(245 * 0.9)
    assert min(entry.nominal for name, entry in limits(LEVELS, 1).items() if name != "exempt") == 1
    assert set(with_mandatory([])) == {"exempt", "catch-all"}
