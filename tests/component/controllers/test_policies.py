"""A policy's status says what does not fit the kinds it names."""

from __future__ import annotations

import orjson
from cluster_world import Cluster

from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.machinery.objects import Obj

_RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}


def policy(expression: str) -> Obj:
    spec = {"matchConstraints": {"resourceRules": [_RULE]}, "validations": [{"expression": expression}]}
    return {"metadata": {"name": "p"}, "spec": spec}


async def _status(cluster: Cluster) -> Obj:
    found = orjson.loads(await cluster.client.request("GET", ValidatingAdmissionPolicy.resource.path(None, "p")))
    status: Obj = found.get("status") or {}
    return status


def _observed(cluster: Cluster) -> int:
    return sum(policy.status.observed_generation for policy in cluster.all(ValidatingAdmissionPolicy))


async def test_the_status_follows_the_policy(cluster: Cluster) -> None:
    await cluster.client.create_tree(ValidatingAdmissionPolicy.resource, policy("object.spec.nope == 1"))
    await cluster.until(lambda: _observed(cluster) == 1, 60)
    (warning,) = (await _status(cluster))["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[0].expression"
    assert warning["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'nope'")
    await cluster.client.patch(
        ValidatingAdmissionPolicy, "p", None, {"spec": {"validations": [{"expression": "object.spec.replicas == 1"}]}}
    )
    await cluster.until(lambda: _observed(cluster) == 2, 60)
    assert (await _status(cluster))["typeChecking"] == {}
