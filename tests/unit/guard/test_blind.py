"""Verdicts that are remembered for pods with other images and names are those that would be found anew."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cases import CASES, _objects

from pilothouse.guard.blind import BLIND
from pilothouse.guard.podspec import CONTAINER_FIELDS, pod_spec
from pilothouse.guard.shipped import shipped_policies
from pilothouse.machinery.objects import Obj
from pilothouse.policy.evaluate import Evaluator
from pilothouse.policy.match import Subject
from pilothouse.policy.verdict import Verdict

PODS = [
    tree
    for case in CASES.values()
    for column in ("alert", "quiet")
    for thing in case[column]
    for tree in _objects(thing)
    if pod_spec(tree) is not None
]


@cache
def forgetful() -> Evaluator:
    return Evaluator(shipped_policies())


@cache
def remembering() -> Evaluator:
    return Evaluator(shipped_policies(), BLIND)


def told(verdict: Verdict) -> tuple[Any, ...]:
    broken = [(entry.policy.name, entry.message, dict(entry.audit)) for entry in verdict.violations]
    return broken, verdict.not_checked, [policy.name for policy in verdict.passed]


def otherwise(tree: Obj, image: str, name: str) -> Obj:
    """The object with another image, name and namespace."""
    other = copy.deepcopy(tree)
    other["metadata"] = {**other.get("metadata", {}), "name": name, "namespace": name}
    pod = pod_spec(other)
    assert pod is not None
    for field in CONTAINER_FIELDS:
        for container in pod.spec.get(field) or ():
            if isinstance(container, dict):
                container["image"] = image
    return other


@given(
    tree=st.sampled_from(PODS),
    images=st.lists(st.sampled_from(["a", "a:latest", "a:1", "b@sha256:" + "0" * 64, ""]), min_size=1, max_size=3),
    kind=st.sampled_from(["DaemonSet", "StatefulSet", "Job"]),
)
def test_the_verdict_is_that_of_a_look_at_the_whole(tree: Obj, images: list[str], kind: str) -> None:
    for number, image in enumerate(images):
        other = otherwise(tree, image, f"n{number}")
        if other["kind"] == "Deployment":
            other["kind"] = kind
        assert told(remembering().evaluate(Subject(other))) == told(forgetful().evaluate(Subject(other)))


@pytest.mark.parametrize("tree", PODS, ids=str)
def test_the_verdict_of_every_case(tree: Obj) -> None:
    assert told(remembering().evaluate(Subject(tree))) == told(forgetful().evaluate(Subject(tree)))


def test_what_names_an_image_or_more_than_the_pod_is_not_among_them() -> None:
    blind = {policy.name.partition(".")[0] for policy in shipped_policies() if BLIND.enough_for(policy)}
    assert len(blind) > 50
    assert not blind & {
        *("image-latest-tag", "image-without-digest", "image-pull-policy", "image-registry-not-allowed"),
        *("workload-single-replica", "workload-not-spread", "default-namespace-used", "required-labels"),
    }


def test_an_alike_pod_gets_the_very_same_violations() -> None:
    tree = _objects({"container": {"securityContext": {"privileged": True}}})[0]
    first, second = (
        {v.policy.name: v for v in remembering().evaluate(Subject(otherwise(tree, image, image))).violations}
        for image in ("a", "b")
    )
    assert first["container-privileged.pilothouse.io"] is second["container-privileged.pilothouse.io"]
    assert first["container-privileged.pilothouse.io"].remembered


def test_a_number_that_json_has_not_is_no_hindrance() -> None:
    tree = _objects({"pod": {"terminationGracePeriodSeconds": 1 << 70}})[0]
    assert BLIND.of(tree) is None
