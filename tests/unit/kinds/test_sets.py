"""StatefulSet, DaemonSet and ControllerRevision: defaults, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest

from pilothouse.kinds.apps import controller_revision, daemon_set, stateful_set

from .trees import REMOVED, changed, defaulted, deployment, faults

STATEFUL, DAEMON = stateful_set.KIND, daemon_set.KIND
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
MOUNT = [{"name": "app", "image": "app:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]


def test_stateful_set_defaults() -> None:
    spec = defaulted(STATEFUL, deployment(volumeClaimTemplates=[CLAIM]))["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"], spec["revisionHistoryLimit"]) == (1, "OrderedReady", 10)
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    assert (claim["kind"], claim["spec"]["volumeMode"], claim["status"]) == (
        "PersistentVolumeClaim",
        "Filesystem",
        {"phase": "Pending"},
    )


def test_daemon_set_defaults() -> None:
    spec = defaulted(DAEMON, deployment())["spec"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    assert spec["revisionHistoryLimit"] == 10
    assert "replicas" not in spec


def test_a_claim_template_is_a_volume_of_the_pods() -> None:
    tree = changed(deployment(volumeClaimTemplates=[CLAIM]), "spec.template.spec.containers", MOUNT)
    assert faults(STATEFUL, defaulted(STATEFUL, tree)) == []
    without = changed(tree, "spec.volumeClaimTemplates", REMOVED)
    assert any("volumeMounts[0].name" in fault for fault in faults(STATEFUL, defaulted(STATEFUL, without)))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "podManagementPolicy",
            "Any",
            "podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'",
        ),
        ("selector", {}, "selector: Invalid value: {}: empty selector is invalid for statefulset"),
        ("ordinals", {"start": -1}, "ordinals.start: Invalid value: -1: must be greater than or equal to 0"),
        (
            "updateStrategy",
            {"type": "OnDelete", "rollingUpdate": {}},
            "updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'",
        ),
        (
            "template.spec.activeDeadlineSeconds",
            5,
            "template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported",
        ),
        (
            "persistentVolumeClaimRetentionPolicy",
            {"whenScaled": "Keep"},
            'persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": '
            'supported values: "Delete", "Retain"',
        ),
    ],
)
def test_stateful_set_faults(path: str, value: Any, expected: str) -> None:
    tree = defaulted(STATEFUL, changed(deployment(), f"spec.{path}", value))
    assert f"spec.{expected}" in faults(STATEFUL, tree)


@pytest.mark.parametrize(
    ("rolling", "expected"),
    [
        ({"maxUnavailable": 0}, "maxUnavailable: Required value: cannot be 0 when maxSurge is 0"),
        ({"maxSurge": 1}, "maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"),
        ({"maxUnavailable": "101%"}, 'maxUnavailable: Invalid value: "101%": must not be greater than 100%'),
    ],
)
def test_daemon_set_faults(rolling: dict[str, Any], expected: str) -> None:
    tree = defaulted(DAEMON, deployment(updateStrategy={"rollingUpdate": rolling}))
    assert faults(DAEMON, tree) == [f"spec.updateStrategy.rollingUpdate.{expected}"]


def test_most_of_a_stateful_set_never_changes() -> None:
    old = defaulted(STATEFUL, deployment())
    new = changed(old, "spec.serviceName", "other")
    (cause,) = STATEFUL.validate(new, old)
    assert cause.message.startswith(
        "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals'"
    )
    assert STATEFUL.validate(changed(old, "spec.replicas", 3), old) == []


def test_a_revision_s_data_never_changes() -> None:
    old = {"metadata": {"name": "r"}, "data": {"a": 1}, "revision": 1}
    causes = controller_revision.KIND.validate({**old, "data": {"a": 2}}, old)
    assert [cause.message for cause in causes if cause.field == "data"] == [
        'Invalid value: {"a":2}: field is immutable'
    ]


def test_templates_of_daemon_sets_are_counted() -> None:
    made = deployment()
    DAEMON.prepare_create(made)
    assert made["metadata"]["annotations"][daemon_set.TEMPLATE_GENERATION] == "1"
    same = changed(made, "spec.minReadySeconds", 3)
    DAEMON.prepare_update(same, made)
    assert same["metadata"]["annotations"][daemon_set.TEMPLATE_GENERATION] == "1"
    other = changed(changed(made, "spec.template.spec.hostNetwork", True), "metadata.annotations", None)
    DAEMON.prepare_update(other, made)
    assert other["metadata"]["annotations"] == {daemon_set.TEMPLATE_GENERATION: "2"}
