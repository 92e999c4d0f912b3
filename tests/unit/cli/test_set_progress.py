"""What `deploy` and `status` say of StatefulSets and DaemonSets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilothouse.cli.progress import of_daemon_set, of_stateful_set
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.core.pod import Pod


def stateful_set(spec: dict[str, Any] | None = None, **status: Any) -> StatefulSet:
    done = {"replicas": 2, "availableReplicas": 2, "updatedReplicas": 2, "currentRevision": "b", "updateRevision": "b"}
    tree = {
        "metadata": {"name": "db", "uid": "s", "generation": 1},
        "spec": {"replicas": 2, **(spec or {})},
        "status": {"observedGeneration": 1, **done, **status},
    }
    return msgspec.convert(tree, StatefulSet)


def daemon_set(**status: Any) -> DaemonSet:
    done = {"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberAvailable": 2, "updatedNumberScheduled": 2}
    tree = {"metadata": {"uid": "s", "generation": 1}, "status": {"observedGeneration": 1, **done, **status}}
    return msgspec.convert(tree, DaemonSet)


def broken(revision: str, created: str = "2026-01-01T00:00:00Z") -> Pod:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    tree = {
        "metadata": {
            "name": f"db-{revision}",
            "creationTimestamp": created,
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"uid": "s", "controller": True}],
        },
        "status": {"containerStatuses": [{"name": "c", "state": waiting}]},
    }
    return msgspec.convert(tree, Pod)


@pytest.mark.parametrize(
    ("live", "state", "text"),
    [
        (stateful_set(), "ready", "ready"),
        (stateful_set(observedGeneration=0), "waiting", "waiting for the controller"),
        (stateful_set(availableReplicas=1), "waiting", "1 of 2 pods ready"),
        (stateful_set(currentRevision="a", updatedReplicas=1), "waiting", "1 of 2 new pods made"),
        (stateful_set(replicas=3), "waiting", "1 old pods are ending"),
        (stateful_set({"updateStrategy": {"type": "OnDelete"}}, updatedReplicas=0), "ready", "ready"),
        (stateful_set({"updateStrategy": {"rollingUpdate": {"partition": 1}}}, updatedReplicas=1), "ready", "ready"),
    ],
)
def test_stateful_sets(live: StatefulSet, state: str, text: str) -> None:
    progress = of_stateful_set(live, [])
    assert (progress.state, progress.text) == (state, text)


def test_a_broken_pod_of_an_older_revision_is_named_as_what_is_in_the_way() -> None:
    progress = of_stateful_set(stateful_set(availableReplicas=1, updatedReplicas=1), [broken("a")])
    assert progress.state == "failed"
    assert "kubectl delete pod db-a" in progress.text


@pytest.mark.parametrize(
    ("live", "state", "text"),
    [
        (daemon_set(), "ready", "ready"),
        (daemon_set(updatedNumberScheduled=1), "waiting", "1 of 2 new pods made"),
        (daemon_set(numberAvailable=1), "waiting", "1 of 2 pods ready"),
        (daemon_set(desiredNumberScheduled=0, numberAvailable=0), "ready", "ready: no node is eligible for it"),
    ],
)
def test_daemon_sets(live: DaemonSet, state: str, text: str) -> None:
    progress = of_daemon_set(live, [])
    assert (progress.state, progress.text) == (state, text)


def test_trouble_of_an_older_daemon_does_not_count() -> None:
    fine = broken("new", "2026-01-02T00:00:00Z")
    fine.status.container_statuses = []
    assert of_daemon_set(daemon_set(numberAvailable=1), [broken("old"), fine]).state == "waiting"
    assert of_daemon_set(daemon_set(numberAvailable=1), [broken("new")]).state == "failed"
