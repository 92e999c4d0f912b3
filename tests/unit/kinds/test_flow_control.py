from typing import Any

import pytest

from pilothouse.apiserver.bootstrap.flow_control import (
    mandatory_levels,
    mandatory_schemas,
    suggested_levels,
    suggested_schemas,
)
from pilothouse.kinds.flowcontrol import flow_schema, priority_level_configuration
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.problems import Problems

from .trees import changed

SUBJECT = {"kind": "User", "user": {"name": "ann"}}
RESOURCES = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
SCHEMA = {
    "metadata": {"name": "mine"},
    "spec": {
        "priorityLevelConfiguration": {"name": "low"},
        "matchingPrecedence": 500,
        "rules": [{"subjects": [SUBJECT], "resourceRules": [RESOURCES]}],
    },
}
QUEUING = {"queues": 64, "handSize": 6, "queueLengthLimit": 50}
LEVEL = {
    "metadata": {"name": "low"},
    "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": QUEUING}}},
}


def problems(kind: Kind, tree: Any) -> list[str]:
    kind.defaults(tree)
    found = Problems()
    kind.rules(tree, None, found)
    return [f"{cause.field}: {cause.message}" for cause in found]


@pytest.mark.parametrize(
    "tree", [*mandatory_schemas(), *suggested_schemas(), SCHEMA], ids=lambda t: t["metadata"]["name"]
)
def test_good_schemas(tree: Any) -> None:
    assert problems(flow_schema.KIND, tree) == []


@pytest.mark.parametrize("tree", [*mandatory_levels(), *suggested_levels(), LEVEL], ids=lambda t: t["metadata"]["name"])
def test_good_levels(tree: Any) -> None:
    assert problems(priority_level_configuration.KIND, tree) == []


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec.matchingPrecedence", 10001, "must not be greater than 10000"),
        ("spec.matchingPrecedence", 1, "only the schema named 'exempt'"),
        ("spec.priorityLevelConfiguration.name", "", "must reference a priority level"),
        ("spec.distinguisherMethod", {"type": "ByColour"}, "Unsupported value"),
        ("spec.rules.0.subjects", [], "subjects must contain at least one value"),
        ("spec.rules.0.subjects.0.kind", "Robot", "Unsupported value"),
        ("spec.rules.0.subjects.0.user.name", "", "Required value"),
        ("spec.rules.0.subjects.0.group", {"name": "g"}, "group is forbidden"),
        ("spec.rules.0.resourceRules", [], "at least one of resourceRules and nonResourceRules"),
        ("spec.rules.0.resourceRules.0.verbs", ["*", "get"], "must not specify other verbs"),
        ("spec.rules.0.resourceRules.0.resources", [], "Required value"),
        ("spec.rules.0.resourceRules.0.namespaces", [], "not cluster scoped must supply at least one"),
        ("spec.rules.0.nonResourceRules", [{"verbs": ["get"]}], "nonResourceURLs: Required value"),
    ],
)
def test_bad_schemas(path: str, value: Any, why: str) -> None:
    (problem,) = problems(flow_schema.KIND, changed(SCHEMA, path, value))
    assert why in problem


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec.type", "Free", "Unsupported value"),
        ("metadata.name", "exempt", "if and only if"),
        ("spec.exempt", {}, "must be nil if the type is Limited"),
        ("spec.limited.nominalConcurrencyShares", -1, "greater than or equal to 0"),
        ("spec.limited.lendablePercent", 101, "between 0 and 100"),
        ("spec.limited.borrowingLimitPercent", -1, "greater than or equal to 0"),
        ("spec.limited.limitResponse", {"type": "Queue"}, "must not be empty"),
        ("spec.limited.limitResponse.type", "Reject", "queuing: Forbidden"),
        ("spec.limited.limitResponse.queuing.queues", 20_000_000, "must not be greater than"),
        ("spec.limited.limitResponse.queuing.handSize", 65, "should not be greater than queues (64)"),
        ("spec.limited.limitResponse.queuing.handSize", 16, "entropy bits"),
        ("spec.limited.limitResponse.queuing.queueLengthLimit", -1, "must be positive"),
    ],
)
def test_bad_levels(path: str, value: Any, why: str) -> None:
    (problem,) = problems(priority_level_configuration.KIND, changed(LEVEL, path, value))
    assert why in problem


def test_what_is_left_out_is_filled_in() -> None:
    tree = changed(changed(LEVEL, "spec.limited.limitResponse.queuing", {}), "metadata.name", "x")
    assert problems(priority_level_configuration.KIND, tree) == []
    assert tree["spec"]["limited"]["limitResponse"]["queuing"] == {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
    assert tree["spec"]["limited"]["nominalConcurrencyShares"] == 30
