"""Report objects in an API server: those of other tools become findings, and findings become ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.finding import Finding as Wrong
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.policy_reports.publish import Publishing
from pilothouse.guard.policy_reports.watch import PolicyReports
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.guard.finding import FINDINGS, Finding
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
REPORTS = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/shop/policyreports"
SECONDS = 60.0
CHECK = Check("privileged", "Privileged", Severity.HIGH, "security", "It owns the node.", "privileged: false")


def definition(kind: str, scope: str) -> Obj:
    open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha2", "served": True, "storage": True, "schema": {"openAPIV3Schema": open_}}
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.wgpolicyk8s.io"},
        "spec": {
            "group": "wgpolicyk8s.io",
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [version],
        },
    }


def report(*results: Obj) -> Obj:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": True}
    return {
        "apiVersion": "wgpolicyk8s.io/v1alpha2",
        "kind": "PolicyReport",
        "metadata": {"name": "kyverno", "namespace": "shop", "ownerReferences": [owner]},
        "results": list(results),
    }


def failed(policy: str) -> Obj:
    pod = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web"}
    return {"policy": policy, "result": "fail", "severity": "high", "source": "kyverno", "resources": [pod]}


@pytest.fixture
async def findings() -> AsyncIterator[Findings]:
    found = Findings()
    yield found
    await found.close()


@pytest.fixture
async def plane(findings: Findings) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(beside={FINDINGS: findings.state}) as plane:
        await plane.client().create(Namespace(metadata=ObjectMeta(name="shop")))
        yield plane


class running:
    """Parts of the guard that run, over informers of their own."""

    def __init__(self, plane: ControlPlane, run: Callable[[SharedInformers], Any]) -> None:
        self._informers = SharedInformers(plane.client())
        self._run = run

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.ensure_future(self._informers.run()), asyncio.ensure_future(self._run(self._informers))]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def install(client: Client) -> None:
    await client.request("POST", DEFINITIONS, body=definition("PolicyReport", "Namespaced"))
    await client.request("POST", DEFINITIONS, body=definition("ClusterPolicyReport", "Cluster"))


async def open_rules(client: Client) -> set[tuple[str, str]]:
    found = (await client.list(Finding, field_selector="status.state=open")).items
    return {(finding.spec.source, finding.spec.rule) for finding in found}


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            if await look():
                return
            await asyncio.sleep(0.02)


async def becomes(client: Client, wanted: set[tuple[str, str]]) -> None:
    async def look() -> bool:
        return await open_rules(client) == wanted

    await until(look)


async def test_results_of_others_come_and_go_with_their_report(plane: ControlPlane, findings: Findings) -> None:
    client = plane.client()
    async with running(plane, PolicyReports(findings).run):
        await install(client)
        await client.request("POST", REPORTS, body=report(failed("labels"), failed("probes")))
        await becomes(client, {("kyverno", "labels"), ("kyverno", "probes")})
        await client.request(
            "PATCH",
            f"{REPORTS}/kyverno",
            body={"results": [failed("probes"), {"result": 3}]},
            content_type="application/merge-patch+json",
        )
        await becomes(client, {("kyverno", "probes"), ("policy-reports", "policy-report-unreadable")})
        await client.request("DELETE", f"{REPORTS}/kyverno")
        await becomes(client, set())


async def test_what_went_while_nobody_looked_and_kinds_that_go(plane: ControlPlane, findings: Findings) -> None:
    client = plane.client()
    await install(client)
    await client.request("POST", REPORTS, body=report(failed("labels")))
    async with running(plane, PolicyReports(findings).run):
        await becomes(client, {("kyverno", "labels")})
    await client.request("DELETE", f"{REPORTS}/kyverno")
    await client.request("POST", REPORTS, body={**report(failed("probes")), "metadata": {"name": "other"}})
    async with running(plane, PolicyReports(findings).run):
        await becomes(client, {("kyverno", "probes")})
        name = f"{DEFINITIONS}/policyreports.wgpolicyk8s.io"
        await client.request("DELETE", name)
        let_go = {"metadata": {"finalizers": []}}  # there is no controller here that would
        await client.request("PATCH", name, body=let_go, content_type="application/merge-patch+json")
        await becomes(client, set())


async def ours(client: Client) -> Obj | None:
    try:
        tree: Obj = orjson.loads(await client.request("GET", f"{REPORTS}/pilothouse"))
    except NotFound:
        return None
    return tree


async def test_ours_follow_the_findings_and_are_not_read_back(plane: ControlPlane, findings: Findings) -> None:
    client = plane.client()
    about = Ref("apps/v1", "Deployment", "shop", "web")
    await findings.report([Report("checks", "web", (Found(Wrong(CHECK, about, "runs privileged", "app")),))])

    async def both(informers: SharedInformers) -> None:
        await asyncio.gather(
            PolicyReports(findings).run(informers), Publishing(findings, client, pause=0.02).run(informers)
        )

    async def there() -> bool:
        return await ours(client) is not None

    async def gone() -> bool:
        return not await there()

    async with running(plane, both):
        await install(client)
        await until(there)
        tree = await ours(client)
        assert tree is not None
        (result,) = tree["results"]
        assert (result["policy"], result["result"], result["resources"][0]["name"]) == ("privileged", "fail", "web")
        assert tree["summary"] == {"pass": 0, "fail": 1, "warn": 0, "error": 0, "skip": 0}

        await client.request("POST", REPORTS, body=report(failed("labels")))
        await becomes(client, {("checks", "privileged"), ("kyverno", "labels")})
        assert (await ours(client) or {})["metadata"]["resourceVersion"] == tree["metadata"]["resourceVersion"]

        await findings.report([Report("checks", "web", ())])
        await until(gone)
