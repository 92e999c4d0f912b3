"""The guard at the door of a real API server."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from admission_plane import RESOURCES, AdmissionPlane

from pilothouse.client.wire import User
from pilothouse.guard.finding import Finding, Item, Severity
from pilothouse.guard.judge import judge
from pilothouse.guard.shipped import check_of, shipped_policies
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.launch.door import GuardDoor
from pilothouse.machinery.errors import Forbidden, Invalid
from pilothouse.machinery.objects import Obj

WARN, AUDIT = {"guard.pilothouse.dev/mode": "warn"}, {"guard.pilothouse.dev/mode": "audit"}


@pytest.fixture
async def api() -> AsyncIterator[AdmissionPlane]:
    async with AdmissionPlane(lambda objects: (GuardDoor(objects),)) as running:
        for name in ("shop", "calm"):
            await running.create("namespaces", {"metadata": {"name": name}})
            await running.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
        yield running


def deployment(name: str = "web", namespace: str = "shop", **container: object) -> Obj:
    pod = {"containers": [{"name": "c", "image": "i:1", **container}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


PRIVILEGED = {"securityContext": {"privileged": True}}
SOCKET = {"name": "s", "hostPath": {"path": "/var/run/docker.sock"}}


async def label(api: AdmissionPlane, namespace: str, **labels: str) -> None:
    await api.patch("namespaces", namespace, {"metadata": {"labels": labels}})


async def test_a_workload_is_refused_at_its_own_admission(api: AdmissionPlane) -> None:
    with pytest.raises(Forbidden) as caught:
        await api.create("deployments", deployment(**PRIVILEGED))
    said = str(caught.value)
    assert said.startswith('deployments.apps "web" is forbidden: the guard found container-privileged (critical): ')
    assert "container c: runs privileged" in said
    assert "pilothouse check --explain container-privileged" in said
    assert "kubectl label namespace shop --overwrite guard.pilothouse.dev/mode=warn" in said


async def test_the_rest_are_few_readable_warnings(api: AdmissionPlane) -> None:
    await api.create("deployments", deployment())
    pod_security, *guard = api.warnings
    assert pod_security.startswith('would violate PodSecurity "restricted:latest"')
    assert guard[0] == "guard: container-cpu-request-missing (medium): container c: has no cpu request"
    assert len(guard) == 4
    assert guard[-1].endswith("pilothouse check shows all of them, and how to mend them")
    assert all(line.startswith("guard: ") and len(line) < 250 for line in guard)
    assert "container-cpu-request-missing[c]" in api.annotations["guard.pilothouse.dev/findings"]


async def test_what_pod_security_names_is_said_once(api: AdmissionPlane) -> None:
    await api.create("deployments", deployment())
    assert "allowPrivilegeEscalation" in api.warnings[0]
    assert not any("container-privilege-escalation" in line for line in api.warnings)
    await label(api, "shop", **{"pod-security.kubernetes.io/warn": "privileged"})
    await api.create("deployments", deployment("other"))
    assert api.warnings[0].startswith("guard: container-privilege-escalation (high): container c:")


async def test_one_label_allows_what_pod_security_allows(api: AdmissionPlane) -> None:
    await label(api, "shop", **{"pod-security.kubernetes.io/enforce": "privileged"})
    await api.create("deployments", deployment(**PRIVILEGED))


@pytest.mark.parametrize(("labels", "warned"), [(WARN, True), (AUDIT, False)])
async def test_modes(api: AdmissionPlane, labels: dict[str, str], warned: bool) -> None:
    await label(api, "shop", **labels)
    await api.create("deployments", deployment(**PRIVILEGED))
    assert any(line.startswith("guard: ") for line in api.warnings) is warned
    assert "container-privileged[c]" in api.annotations["guard.pilothouse.dev/findings"]


async def test_system_namespaces_are_noted_only(api: AdmissionPlane) -> None:
    await api.create("deployments", deployment(namespace="kube-system", **PRIVILEGED))
    assert api.warnings == []
    assert "container-privileged[c]" in api.annotations["guard.pilothouse.dev/findings"]


async def test_a_severity_from_which_it_refuses(api: AdmissionPlane) -> None:
    await label(api, "shop", **{"guard.pilothouse.dev/severity": "medium"})
    with pytest.raises(Forbidden, match=r"container-cpu-request-missing \(medium\)"):
        await api.create("deployments", deployment())
    with pytest.raises(Invalid, match='Unsupported value: "grave": supported values: "critical", "high"'):
        await label(api, "shop", **{"guard.pilothouse.dev/severity": "grave"})


async def test_what_was_there_before_is_not_refused(api: AdmissionPlane) -> None:
    await label(api, "shop", **WARN)
    await api.create("deployments", deployment(**PRIVILEGED))
    await label(api, "shop", **{"guard.pilothouse.dev/mode": "enforce"})
    path = "/apis/apps/v1/namespaces/shop/deployments/web"
    await api.send("PATCH", path, {"spec": {"replicas": 3}})
    with pytest.raises(Forbidden, match="pod-container-socket"):
        await api.send("PATCH", path, {"spec": {"template": {"spec": {"volumes": [SOCKET]}}}})


async def test_pods_of_controllers_are_judged_but_not_warned(api: AdmissionPlane) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    pod = {"metadata": {"name": "p", "namespace": "shop", "ownerReferences": [owner]}}
    controller = User("system:controller:replicaset-controller", ("system:masters",))
    await label(api, "shop", **{"pod-security.kubernetes.io/enforce": "privileged"})
    await api.create("pods", {**pod, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}, user=controller)
    assert api.warnings == []
    await label(api, "shop", **{"pod-security.kubernetes.io/enforce": "baseline"})
    broken = {"containers": [{"name": "c", "image": "i:1", **PRIVILEGED}]}
    with pytest.raises(Forbidden):
        await api.create("pods", {"metadata": {**pod["metadata"], "name": "q"}, "spec": broken}, user=controller)


async def test_an_exemption_in_force_is_honoured(api: AdmissionPlane) -> None:
    ends = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"rules": ["container-privileged"], "reason": "a driver", "owner": "infra", "expires": ends}
    body = {"metadata": {"name": "driver", "namespace": "shop"}, "spec": spec}
    await api.create("exemptions", body)
    with pytest.raises(Forbidden):
        await api.create("deployments", deployment(**PRIVILEGED))
    path = Exemption.resource.path("shop", "driver", "status")
    await api.send("PATCH", path, {"status": {"approval": "Approved"}}, User("eve", ("system:masters",)))
    await api.create("deployments", deployment(**PRIVILEGED))


async def test_limits_of_the_namespace_and_the_account_count(api: AdmissionPlane) -> None:
    limits = {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}
    await api.create("limitranges", {"metadata": {"name": "l", "namespace": "shop"}, "spec": {"limits": [limits]}})
    await api.create("deployments", deployment())
    assert not any("cpu-request-missing" in line for line in api.warnings)


async def test_roles_and_cluster_wide_objects(api: AdmissionPlane) -> None:
    rules = [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]
    with pytest.raises(Forbidden, match="role-impersonate"):
        await api.create("roles", {"metadata": {"name": "r", "namespace": "shop"}, "rules": rules})
    await api.create("clusterroles", {"metadata": {"name": "r"}, "rules": rules})
    assert any("role-impersonate (critical)" in line for line in api.warnings)


async def test_the_example_is_let_in_and_found_what_its_files_are_found(api: AdmissionPlane) -> None:
    files = sorted((Path(__file__).parents[3] / "examples" / "shop").glob("*.yaml"))
    trees = [tree for file in files for tree in yaml.safe_load_all(file.read_text())]
    of_one_object = {check_of(policy).id for policy in shipped_policies()}
    expected: dict[tuple[str, str], set[str]] = defaultdict(set)
    for finding in judge([Item(tree) for tree in trees]).findings:
        if finding.check.id in of_one_object:
            expected[finding.ref.kind, finding.ref.name].add(_named(finding))
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for tree in trees:
        plural = next(name for name, resource in RESOURCES.items() if resource.kind == tree["kind"])
        if tree["kind"] == "Namespace":
            await api.patch("namespaces", "shop", {"metadata": {"labels": tree["metadata"]["labels"]}})
            continue
        await api.create(plural, tree)
        noted = api.annotations.get("guard.pilothouse.dev/findings", "")
        found[tree["kind"], tree["metadata"]["name"]] |= {name for name in noted.split(",") if name}
    assert {key: names for key, names in found.items() if names} == {
        key: names for key, names in expected.items() if key[0] != "Namespace"
    }


def _named(finding: Finding) -> str:
    """As the door notes it: of low findings, only that there are."""
    told = finding.container and finding.check.severity > Severity.LOW
    return f"{finding.check.id}[{finding.container}]" if told else finding.check.id


async def test_what_no_check_is_about_costs_nothing(api: AdmissionPlane) -> None:
    await api.create("configmaps", {"metadata": {"name": "c", "namespace": "shop"}, "data": {"a": "b"}})
    await api.create("leases", {"metadata": {"name": "n1", "namespace": "shop"}, "spec": {}})
    assert "guard.pilothouse.dev/findings" not in api.annotations
