"""What a delete does to an object."""

import datetime as dt
from typing import Any

import pytest

from pilothouse.apiserver.deletion import Options, is_final, mark, read_options
from pilothouse.machinery.errors import BadRequest, Invalid
from pilothouse.machinery.objects import Obj, Resource

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
POD = Resource("", "v1", "Pod", "pods", True)
MAP = Resource("", "v1", "ConfigMap", "configmaps", True)
NAMESPACE = Resource("", "v1", "Namespace", "namespaces", False)


def pod(node: str = "n", phase: str = "Running", **meta: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", **meta},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 20},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("obj", "options", "grace"),
    [
        (pod(), Options(), 20),
        (pod(), Options(grace=3), 3),
        (pod(), Options(grace=0), 0),
        (pod(), Options(grace=-1), 1),
        (pod(node=""), Options(), 0),
        (pod(phase="Failed"), Options(grace=9), 0),
    ],
)
def test_grace_of_pods(obj: Obj, options: Options, grace: int) -> None:
    assert mark(POD, obj, options, NOW)
    assert obj["metadata"]["deletionGracePeriodSeconds"] == grace
    moment = NOW + dt.timedelta(seconds=grace)
    assert obj["metadata"]["deletionTimestamp"] == moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert is_final(obj) == (grace == 0)


@pytest.mark.parametrize(("asked", "left"), [(None, 20), (60, 20), (20, 20), (5, 5), (0, 0)])
def test_a_second_delete_only_shortens(asked: int | None, left: int) -> None:
    obj = pod()
    mark(POD, obj, Options(), NOW)
    changed = mark(POD, obj, Options(grace=asked), NOW + dt.timedelta(seconds=2))
    assert changed == (left != 20)
    assert obj["metadata"]["deletionGracePeriodSeconds"] == left


def test_finalizers_hold_an_object() -> None:
    obj: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": ["x/y"]}}
    assert mark(MAP, obj, Options(), NOW)
    assert not is_final(obj)
    assert not mark(MAP, obj, Options(), NOW)
    obj["metadata"]["finalizers"] = []
    assert is_final(obj)


def test_policies_replace_one_another() -> None:
    obj: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": ["x/y"]}}
    mark(MAP, obj, Options(policy="Foreground"), NOW)
    assert obj["metadata"]["finalizers"] == ["x/y", "foregroundDeletion"]
    mark(MAP, obj, Options(policy="Orphan"), NOW)
    assert obj["metadata"]["finalizers"] == ["x/y", "orphan"]
    mark(MAP, obj, Options(policy="Background"), NOW)
    assert obj["metadata"]["finalizers"] == ["x/y"]
    assert not mark(MAP, obj, Options(), NOW)


def test_a_namespace_terminates_until_its_own_finalizers_are_gone() -> None:
    obj: Obj = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "a"},
        "spec": {"finalizers": ["kubernetes"]},
    }
    mark(NAMESPACE, obj, Options(), NOW)
    assert obj["status"]["phase"] == "Terminating"
    assert not is_final(obj)
    obj["spec"]["finalizers"] = []
    assert is_final(obj)


def test_options_come_from_body_or_query() -> None:
    assert read_options({}, {"gracePeriodSeconds": "5", "propagationPolicy": "Orphan"}) == Options(5, "Orphan")
    body = {"gracePeriodSeconds": 0, "preconditions": {"uid": "u", "resourceVersion": "3"}, "dryRun": ["All"]}
    assert read_options(body, {"gracePeriodSeconds": "5"}) == Options(0, "", "u", "3", True)
    assert read_options({"orphanDependents": True}, {}).policy == "Orphan"
    assert read_options({}, {"orphanDependents": "false"}).policy == "Background"
    with pytest.raises(Invalid, match="cannot be both set"):
        read_options({"orphanDependents": True, "propagationPolicy": "Orphan"}, {})
    with pytest.raises(BadRequest, match="gracePeriodSeconds"):
        read_options({}, {"gracePeriodSeconds": "x"})
