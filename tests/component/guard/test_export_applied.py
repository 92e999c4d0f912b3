"""The exported checks in an API server that has no guard of its own: what they refuse, warn about and leave alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from admission_plane import RESOURCES, AdmissionPlane

from pilothouse.guard.export.export import Choices, export
from pilothouse.guard.shipped import shipped_trees
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj

PARAMS = {"required-labels": {"metadata": {"name": "required-labels"}, "data": {"labels": "team"}}}
CHECKS = {
    "container-privileged",  # critical
    "container-privilege-escalation",  # high
    "container-memory-limit-missing",  # medium
    "role-impersonate",  # critical, of roles with and without a namespace
    "required-labels",
}
PLURALS = {resource.kind: plural for plural, resource in RESOURCES.items()}


@pytest.fixture
async def api() -> AsyncIterator[AdmissionPlane]:
    async with AdmissionPlane() as running:
        for tree in (tree for tree in shipped_trees() if tree["metadata"]["name"].partition(".")[0] in CHECKS):
            for entry in export([tree], (), Choices(params=PARAMS)).exported:
                for made in entry.objects:
                    await running.create(PLURALS[made["kind"]], made)
        for name, labels in (
            ("shop", {}),
            ("lab", {"guard.pilothouse.dev/mode": "warn"}),
            ("strict", {"guard.pilothouse.dev/severity": "medium"}),
        ):
            await running.create("namespaces", {"metadata": {"name": name, "labels": {**labels, **UNGUARDED}}})
        yield running


UNGUARDED = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "warn")}


def deployment(namespace: str, **security: object) -> Obj:
    container = {"name": "app", "image": "registry.example/app:1", "securityContext": security}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": "web", "namespace": namespace, "labels": {"team": "a"}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


async def test_refused_warned_and_left_alone(api: AdmissionPlane) -> None:
    with pytest.raises(
        Invalid,
        match=r"'container-privileged.pilothouse.io' with binding 'container-privileged-deny.pilothouse.io' denied "
        r"request: runs privileged \(containers: app\)",
    ):
        await api.create("deployments", deployment("shop", privileged=True))

    await api.create("deployments", deployment("lab", privileged=True))
    assert any("runs privileged (containers: app)" in warning for warning in api.warnings)

    await api.create("deployments", deployment("kube-system", privileged=True))
    assert api.warnings == []

    await api.create("deployments", deployment("shop"))
    (told,) = api.warnings  # and the missing limit is only noted
    assert "container-privilege-escalation-below.pilothouse.io" in told
    assert "has no memory limit" in api.annotations["validation.policy.admission.k8s.io/validation_failure"]
    with pytest.raises(Invalid, match=r"container-memory-limit-missing-deny"):
        await api.create("deployments", deployment("strict"))


async def test_what_is_in_no_namespace_is_warned_about(api: AdmissionPlane) -> None:
    rules = [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]
    await api.create("clusterroles", {"metadata": {"name": "as-others"}, "rules": rules})
    assert any("role-impersonate-cluster.pilothouse.io" in warning for warning in api.warnings)
    with pytest.raises(Invalid, match=r"role-impersonate-deny"):
        await api.create("roles", {"metadata": {"name": "as-others", "namespace": "shop"}, "rules": rules})


async def test_parameters_go_with_it(api: AdmissionPlane) -> None:
    tree = deployment("shop")
    del tree["metadata"]["labels"]
    await api.create("deployments", tree)
    assert "required-labels" in api.annotations["validation.policy.admission.k8s.io/validation_failure"]
