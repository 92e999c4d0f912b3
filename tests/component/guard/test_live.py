"""Live checks over a control plane in memory: what is written shows in findings, with owners, and goes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest

from pilothouse.cli.manifests import in_order, read
from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.guard.finding import Item
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.judge import judge
from pilothouse.guard.live.run import Live
from pilothouse.kinds.catalogue import by_kind
from pilothouse.kinds.guard.finding import FINDINGS, Finding
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

SHOP = Path(__file__).parents[3] / "examples" / "shop"
CHECKS = Path(__file__).parents[3] / "examples" / "checks"
SHOWN_SECONDS = 60.0


@pytest.fixture
async def findings() -> AsyncIterator[Findings]:
    found = Findings()
    yield found
    await found.close()


@pytest.fixture
async def plane(findings: Findings) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(beside={FINDINGS: findings.state}) as running:
        yield running


@pytest.fixture
async def live(plane: ControlPlane, findings: Findings, tmp_path: Path) -> AsyncIterator[Live]:
    async with running(plane, findings, tmp_path) as found:
        yield found


class running:
    """Live checks that run."""

    def __init__(self, plane: ControlPlane, findings: Findings, folder: Path) -> None:
        self._plane = plane
        self._informers = SharedInformers(plane.client())
        self._live = Live(findings, mapping=folder / "owners.yaml")

    async def __aenter__(self) -> Live:
        self._tasks = [
            asyncio.create_task(self._informers.run()),
            asyncio.create_task(self._live.run(self._plane.client(), self._informers)),
        ]
        return self._live

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def shown(client: Client, wanted: Callable[[list[Finding]], bool]) -> list[Finding]:
    """The open findings, as soon as they are as wanted."""
    async with asyncio.timeout(SHOWN_SECONDS):
        while True:
            found = (await client.list(Finding, field_selector="status.state=open")).items
            if wanted(found):
                return found
            await asyncio.sleep(0.02)


def rules(found: list[Finding], kind: str = "") -> set[str]:
    return {f.spec.rule for f in found if not kind or f.spec.subject.kind == kind}


async def create(client: Client, tree: Obj) -> None:
    group, _, version = tree["apiVersion"].rpartition("/")
    kind = by_kind(group, version, tree["kind"])
    assert kind is not None
    await client.create_tree(kind.resource, tree, tree["metadata"].get("namespace"))


def namespace(name: str, **labels: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def deployment(name: str, *, privileged: bool = False) -> Obj:
    container: Obj = {"name": "c", "image": "registry.local/app@sha256:" + "0" * 64}
    if privileged:
        container["securityContext"] = {"privileged": True}
    labels = {"app": name}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pods}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


async def test_a_mistake_shows_and_its_mending_too(plane: ControlPlane, live: Live) -> None:
    client = plane.client()
    await create(client, namespace("shop", team="shop-team"))
    await create(client, deployment("app", privileged=True))
    found = await shown(client, lambda found: "container-privileged" in rules(found))
    one = next(finding for finding in found if finding.spec.rule == "container-privileged")
    assert (one.status.owner, one.spec.container, one.status.new_because) == ("shop-team", "c", "ObjectChanged")
    path = "spec.template.spec.containers[0].securityContext.privileged"
    assert (one.spec.field, one.spec.severity) == (path, "critical")
    mended = {"spec": {"template": {"spec": {"containers": [{"name": "c", "securityContext": {"privileged": False}}]}}}}
    path = "/apis/apps/v1/namespaces/shop/deployments/app"
    await client.request("PATCH", path, body=mended, content_type="application/strategic-merge-patch+json")
    await shown(client, lambda found: "container-privileged" not in rules(found))
    left = await client.find(Finding, one.name, "shop")
    assert left is None or left.status.state == "resolved"


async def test_what_does_not_fit_together_shows_and_goes(plane: ControlPlane, live: Live) -> None:
    client = plane.client()
    await create(client, namespace("shop"))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app", "namespace": "shop"}}
    await create(client, {**service, "spec": {"selector": {"app": "app"}, "ports": [{"port": 80}]}})
    await shown(client, lambda found: "service-selects-nothing" in rules(found))
    await create(client, deployment("app"))
    await shown(
        client, lambda found: "service-selects-nothing" not in rules(found) and bool(rules(found, "Deployment"))
    )
    await client.request("DELETE", "/apis/apps/v1/namespaces/shop/deployments/app")
    found = await shown(client, lambda found: "service-selects-nothing" in rules(found))
    assert not rules(found, "Deployment")


async def test_owners_follow_labels(plane: ControlPlane, live: Live) -> None:
    client = plane.client()
    await create(client, namespace("shop"))
    await create(client, deployment("app"))
    await shown(client, lambda found: "owner-missing" in rules(found))
    labels = {"metadata": {"labels": {"team": "shop-team"}}}
    merge = "application/merge-patch+json"
    await client.request("PATCH", "/api/v1/namespaces/shop", body=labels, content_type=merge)
    found = await shown(client, lambda found: {f.status.owner for f in found} == {"shop-team"})
    assert "owner-missing" not in rules(found)


async def test_managed_pods_say_nothing_of_their_own(plane: ControlPlane, live: Live) -> None:
    client = plane.client()
    await create(client, namespace("shop"))
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-1", "uid": "1", "controller": True}
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "c", "image": "app"}]}}
    await create(client, {**pod, "metadata": {"name": "app-1-2", "namespace": "shop", "ownerReferences": [owner]}})
    await create(client, {**pod, "metadata": {"name": "alone", "namespace": "shop"}})
    found = await shown(client, lambda found: bool(rules(found, "Pod")))
    assert {f.spec.subject.name for f in found if f.spec.subject.kind == "Pod"} == {"alone"}


async def test_a_new_process_resolves_what_went_meanwhile(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    client = plane.client()
    async with running(plane, findings, tmp_path):
        await create(client, namespace("shop"))
        await create(client, deployment("gone", privileged=True))
        await create(client, deployment("stays", privileged=True))
        await shown(client, lambda found: len([f for f in found if f.spec.rule == "container-privileged"]) == 2)
    await client.request("DELETE", "/apis/apps/v1/namespaces/shop/deployments/gone")
    seen = {f.name: f.status.first_seen for f in (await client.list(Finding)).items}
    async with running(plane, findings, tmp_path):
        found = await shown(client, lambda found: not [f for f in found if f.spec.subject.name == "gone"])
    assert {f.name: f.status.first_seen for f in found} == {f.name: seen[f.name] for f in found}


async def test_the_mapping_file_names_owners(plane: ControlPlane, findings: Findings, tmp_path: Path) -> None:
    (tmp_path / "owners.yaml").write_text("- {namespace: shop, kind: Deployment, owner: mapped}\n")
    client = plane.client()
    await create(client, namespace("shop"))
    await create(client, deployment("app"))
    async with running(plane, findings, tmp_path):
        found = await shown(client, lambda found: bool(rules(found, "Deployment")))
    assert {f.status.owner for f in found if f.spec.subject.kind == "Deployment"} == {"mapped"}


async def test_the_same_verdict_from_file_and_live(plane: ControlPlane, live: Live) -> None:
    """Of the example's objects, but for what the server's own objects add and what is no part of files."""
    manifests, problems = read(str(SHOP))
    assert not problems
    client = plane.client()
    for manifest in sorted(manifests, key=lambda m: m.tree["kind"] != "Namespace"):
        await create(client, orjson.loads(orjson.dumps(manifest.tree)))
    wanted = {
        (f.check.id, f.ref.kind, f.ref.name, f.container, f.field)
        for f in judge([Item(m.tree, m.file, m.line_of) for m in manifests]).findings
    }

    def said(found: list[Finding]) -> set[tuple[str, ...]]:
        return {
            (f.spec.rule, f.spec.subject.kind, f.spec.subject.name, f.spec.container, f.spec.field)
            for f in found
            if f.spec.rule != "owner-missing"
        }

    found = await shown(client, lambda found: said(found) >= wanted)
    assert said(found) == wanted


async def test_a_mistake_in_the_mapping_file_is_a_finding(
    plane: ControlPlane, findings: Findings, tmp_path: Path
) -> None:
    (tmp_path / "owners.yaml").write_text("- {namespace: shop, owner: a}\n- {namespace: shop, owne: b}\n")
    async with running(plane, findings, tmp_path):
        found = await shown(plane.client(), lambda found: "guard-file-mistaken" in rules(found))
    (mistaken,) = (finding for finding in found if finding.spec.rule == "guard-file-mistaken")
    assert "owners.yaml:2: there is no 'owne'" in mistaken.spec.message
    assert mistaken.namespace == "kube-system"


async def test_own_checks_that_are_bound_are_asked_of_what_runs(plane: ControlPlane, live: Live) -> None:
    """The example's, with parameters; what changes them or the object shows, and what takes them away."""
    client = plane.client()
    await create(client, namespace("default"))
    await create(client, namespace("shop"))
    many = deployment("many")
    many["spec"]["replicas"] = 9
    await create(client, many)
    for manifest in in_order(read(str(CHECKS))[0]):
        await create(client, orjson.loads(orjson.dumps(manifest.tree)))

    (found,) = await own(client, lambda found: len(found) == 1)
    subject = found.spec.subject
    assert (found.spec.rule, subject.kind, subject.name) == ("shop-replicas", "Deployment", "many")
    assert (found.spec.message, found.spec.field) == ("has 9 replicas, more than 4", "spec.replicas")

    await change(client, "/apis/apps/v1/namespaces/shop/deployments/many", {"spec": {"replicas": 3}})
    await own(client, lambda found: not found)
    await change(client, "/api/v1/namespaces/default/configmaps/shop-replicas", {"data": {"most": "2"}})
    await own(client, lambda found: [one.spec.message for one in found] == ["has 3 replicas, more than 2"])
    group = "/apis/admissionregistration.k8s.io/v1"
    await client.request("DELETE", f"{group}/validatingadmissionpolicybindings/shop-replicas")
    await own(client, lambda found: not found)


async def test_own_checks_that_cannot_be_asked_are_told_at_their_policy(plane: ControlPlane, live: Live) -> None:
    client = plane.client()
    await create(client, namespace("shop"))
    await create(client, deployment("app"))
    numbers = "[0,1,2,3,4,5,6,7,8,9]"
    endless = "true"
    for name in "abcdefgh":
        endless = f"{numbers}.all({name}, {endless})"
    await create(client, own_policy("slow", endless))
    await create(client, own_policy("lacking", "true", title=""))
    await create(client, own_policy("elsewhere", "true", group="coordination.k8s.io", plural="leases"))
    await create(client, own_policy("unbound", "false"))
    await create(client, own_policy("container-privileged", "false"))
    for name in ("slow", "lacking", "elsewhere", "container-privileged"):
        await create(client, own_binding(name))

    found = await shown(client, lambda found: len([one for one in found if one.spec.rule == "not-checked"]) == 3)

    told = {(one.spec.subject.name, one.spec.message) for one in found if one.spec.rule == "not-checked"}
    assert {name for name, _ in told} == {"app", "lacking", "elsewhere"}
    said = dict(told)
    assert "annotation pilothouse.io/title is missing" in said["lacking"]
    assert said["elsewhere"] == "leases.coordination.k8s.io are judged at the door only, not while they run"
    assert said["app"].startswith("slow: evaluation error: ")
    assert said["app"].endswith("operation cancelled: actual cost limit exceeded")
    assert len(said["app"]) < 500
    assert not {"unbound", "slow", "container-privileged"} & rules(found)


async def own(client: Client, wanted: Callable[[list[Finding]], bool]) -> list[Finding]:
    """The findings of the example's checks, as soon as they are as wanted."""

    def of_example(found: list[Finding]) -> list[Finding]:
        return [one for one in found if one.spec.rule.startswith("shop-") or one.spec.rule == "not-checked"]

    return of_example(await shown(client, lambda found: wanted(of_example(found))))


async def change(client: Client, path: str, patch: Obj) -> None:
    await client.request("PATCH", path, body=patch, content_type="application/merge-patch+json")


def own_policy(
    name: str, expression: str, *, title: str = "t", group: str = "apps", plural: str = "deployments"
) -> Obj:
    texts = {"id": name, "title": title, "severity": "low", "category": "hygiene", "why": "w", "remedy": "r"}
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "annotations": {f"pilothouse.io/{key}": text for key, text in texts.items()}},
        "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]},
    }


def own_binding(name: str) -> Obj:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Audit"]},
    }
