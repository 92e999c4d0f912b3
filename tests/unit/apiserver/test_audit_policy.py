"""Which requests are recorded, and how much of them."""

from pathlib import Path
from typing import Any

import pytest

from pilothouse.apiserver.audit.policy import InvalidPolicy, Level, Policy, default_policy, read_policy
from pilothouse.apiserver.route import parse
from pilothouse.client.wire import User

ANN = User("ann", ("dev", "system:authenticated"))


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return Policy({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})


def level(found: Policy, method: str, path: str, user: User = ANN) -> Level:
    return found.verdict(user, parse(method, path, [])).level


PODS = "/api/v1/namespaces/shop/pods"


@pytest.mark.parametrize(
    ("rule", "method", "path", "matches"),
    [
        ({}, "GET", PODS, True),
        ({"users": ["ann"]}, "GET", PODS, True),
        ({"users": ["bob"]}, "GET", PODS, False),
        ({"userGroups": ["ops", "dev"]}, "GET", PODS, True),
        ({"verbs": ["create"]}, "GET", PODS, False),
        ({"namespaces": ["shop"]}, "GET", PODS, True),
        ({"namespaces": ["other"]}, "GET", PODS, False),
        ({"namespaces": [""]}, "GET", "/api/v1/nodes", True),
        ({"resources": [{"group": ""}]}, "GET", PODS, True),
        ({"resources": [{"group": "apps"}]}, "GET", PODS, False),
        ({"resources": [{"group": "*", "resources": ["pods"]}]}, "GET", PODS, True),
        ({"resources": [{"resources": ["pods"]}]}, "GET", f"{PODS}/a/log", False),
        ({"resources": [{"resources": ["pods/log"]}]}, "GET", f"{PODS}/a/log", True),
        ({"resources": [{"resources": ["pods/*"]}]}, "GET", f"{PODS}/a/log", True),
        ({"resources": [{"resources": ["*/log"]}]}, "GET", f"{PODS}/a/log", True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, "GET", f"{PODS}/b", False),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, "GET", f"{PODS}/a", True),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/healthz/etcd", True),
        ({"nonResourceURLs": ["/healthz"]}, "GET", "/healthz/etcd", False),
        ({"nonResourceURLs": ["*"]}, "GET", PODS, False),
    ],
)
def test_what_a_rule_matches(rule: dict[str, Any], method: str, path: str, matches: bool) -> None:
    assert (level(policy({"level": "Request", **rule}), method, path) is Level.REQUEST) == matches


def test_the_first_rule_that_matches_decides() -> None:
    found = policy({"level": "None", "verbs": ["get"]}, {"level": "Metadata"})
    assert level(found, "GET", f"{PODS}/a") is Level.NONE
    assert level(found, "DELETE", f"{PODS}/a") is Level.METADATA


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/shop/secrets/a"),
        ("POST", "/api/v1/namespaces/shop/serviceaccounts/a/token"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ],
)
def test_bodies_that_hold_secrets_are_never_recorded(method: str, path: str) -> None:
    assert level(policy({"level": "RequestResponse"}), method, path) is Level.METADATA


@pytest.mark.parametrize(
    ("user", "method", "path", "wanted"),
    [
        (ANN, "GET", "/api/v1/namespaces/shop/secrets/a", Level.METADATA),
        (ANN, "POST", f"{PODS}/a/exec", Level.METADATA),
        (ANN, "GET", "/healthz", Level.NONE),
        (ANN, "GET", "/openapi/v3", Level.NONE),
        (User("part"), "GET", PODS, Level.NONE),
        (User("part"), "PATCH", f"{PODS}/a/status", Level.NONE),
        (User("part"), "DELETE", f"{PODS}/a", Level.METADATA),
        (User("system:node:n", ("system:nodes",)), "GET", PODS, Level.NONE),
        (ANN, "POST", "/api/v1/namespaces/shop/events", Level.NONE),
    ],
)
def test_what_is_recorded_by_default(user: User, method: str, path: str, wanted: Level) -> None:
    assert level(default_policy(["part"]), method, path, user) is wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "flow"),
        ("kind: Policy", "apiVersion"),
        ("{apiVersion: v1, kind: Policy, rules: [{level: None}]}", "not audit.k8s.io/v1 Policy"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: []}", "at least one"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: All}]}", r"rules\[0\].level"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, user: [a]}]}", "user"),
        ("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, omitStages: [End]}]}", "End"),
        (
            "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, nonResourceURLs: ['/a*b']}]}",
            "at its end",
        ),
    ],
)
def test_a_policy_that_is_none_is_refused_with_the_reason(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(InvalidPolicy, match=why):
        read_policy(file)
