import pytest

from pilothouse.kinds.apps import deployment as deployments
from pilothouse.kinds.apps import replica_set as replica_sets
from pilothouse.kinds.kind import Kind

from .trees import REMOVED, changed, defaulted, deployment, faults

KIND = deployments.KIND


def test_deployment_defaults() -> None:
    spec = defaulted(KIND, deployment())["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


def test_recreate_needs_no_numbers() -> None:
    assert defaulted(KIND, deployment(strategy={"type": "Recreate"}))["spec"]["strategy"] == {"type": "Recreate"}


def test_replica_set_defaults() -> None:
    spec = defaulted(replica_sets.KIND, deployment())["spec"]
    assert spec["replicas"] == 1
    assert "strategy" not in spec


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "selector",
            REMOVED,
            [
                "selector: Required value",
                'template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
            ],
        ),
        ("selector", {}, "selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            "selector.matchLabels",
            {"app": "other"},
            'template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        (
            "selector.matchExpressions",
            [{"key": "app", "operator": "In"}],
            [
                "selector.matchExpressions[0].values: "
                "Required value: must be specified when `operator` is 'In' or 'NotIn'",
                'selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"In"}],'
                '"matchLabels":{"app":"web"}}: invalid label selector',
            ],
        ),
        ("replicas", -1, "replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            "strategy",
            {"type": "Blue"},
            'strategy: Unsupported value: {"type":"Blue"}: supported values: "Recreate", "RollingUpdate"',
        ),
        (
            "strategy",
            {"type": "Recreate", "rollingUpdate": {}},
            "strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "strategy",
            {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}},
            "strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            "strategy",
            {"rollingUpdate": {"maxUnavailable": "101%"}},
            'strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
        ),
        (
            "strategy",
            {"rollingUpdate": {"maxSurge": "some"}},
            'strategy.rollingUpdate.maxSurge: Invalid value: "some": a valid percent string must be a numeric string '
            "followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        (
            "minReadySeconds",
            600,
            "progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
        ("template.spec.containers.0.image", "", "template.spec.containers[0].image: Required value"),
        (
            "template.spec.restartPolicy",
            "Never",
            'template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        (
            "template.metadata.labels",
            {"app": "web", "bad key": "x"},
            'template.labels: Invalid value: "bad key": name part must consist of alphanumeric characters, '
            "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
            "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
    ],
)
def test_deployment_rules(path: str, value: object, expected: str | list[str]) -> None:
    told = [expected] if isinstance(expected, str) else expected
    assert faults(KIND, changed(deployment(), f"spec.{path}", value)) == [f"spec.{text}" for text in told]


@pytest.mark.parametrize("kind", [KIND, replica_sets.KIND], ids=lambda kind: kind.resource.kind)
def test_the_selector_stays(kind: Kind) -> None:
    labels = {"app": "web", "tier": "front"}
    new = changed(deployment(), "spec.selector.matchLabels", labels)
    new = changed(new, "spec.template.metadata.labels", labels)
    assert faults(kind, new, deployment()) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"front"}}: field is immutable'
    ]


def test_an_accepted_template_never_blocks_scaling() -> None:
    old = deployment()
    old["spec"]["template"]["spec"]["dnsPolicy"] = "FromAnotherVersion"
    assert faults(KIND, changed(old, "spec.replicas", 3), old) == []
