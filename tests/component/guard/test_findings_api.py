"""Findings through the API: read only, with their own sequence of versions."""

import asyncio
import datetime as dt
import itertools
from collections.abc import AsyncIterator

import orjson
import pytest

from pilothouse.cli.findings import FindingFilter, lines, matcher, selectors, summary
from pilothouse.client.client import Client
from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.finding import Finding as Wrong
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.findings.page import content_of, page
from pilothouse.kinds.columns import now
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.guard.finding import FINDINGS, Finding
from pilothouse.kinds.view import ObjectMeta
from pilothouse.machinery.errors import BadRequest, Expired, MethodNotAllowed
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

HIGH = Check("privileged", "Privileged", Severity.HIGH, "security", "It owns the node.", "privileged: false")
LOW = Check("tag", "Tag", Severity.LOW, "hygiene", "It moves.", "image: app@sha256:…")
PATH = "/apis/guard.pilothouse.dev/v1alpha1/findings"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
async def findings() -> AsyncIterator[Findings]:
    start = dt.datetime.now(dt.UTC)
    hours = itertools.count()
    # Each look an hour after the last: what is gone within a minute leaves nothing.
    found = Findings(now=lambda: start - dt.timedelta(hours=1000 - next(hours)))
    yield found
    await found.close()


@pytest.fixture
async def plane(findings: Findings) -> AsyncIterator[ControlPlane]:
    async with ControlPlane(beside={FINDINGS: findings.state}) as running:
        yield running


def wrong(name: str, *checks: Check, namespace: str = "shop") -> Report:
    ref = Ref("apps/v1", "Deployment", namespace, name)
    return Report("checks", str(ref), tuple(Found(Wrong(check, ref, "is wrong", "front", "spec")) for check in checks))


async def get(client: Client, path: str, accept: str = "application/json", **query: str) -> Obj:
    response = await client.send("GET", path, query=list(query.items()), accept=accept)
    body = response.body if response.stream is None else b"".join([piece async for piece in response.stream])
    tree: Obj = orjson.loads(body)
    assert response.status == 200, tree
    return tree


async def test_lists_by_namespace_and_selectors(plane: ControlPlane, findings: Findings) -> None:
    await findings.report([wrong("a", HIGH, LOW), wrong("b", LOW), wrong("c", HIGH, namespace="bank")])
    client = plane.client()
    assert len((await client.list(Finding)).items) == 4
    assert len((await client.list(Finding, "shop")).items) == 3
    high = await client.list(Finding, field_selector="spec.severity=high,status.state=open")
    assert [finding.spec.subject.name for finding in high.items] == ["c", "a"]
    assert len((await client.list(Finding, "shop", label_selector="pilothouse.io/rule=tag")).items) == 2
    with pytest.raises(BadRequest):
        await client.list(Finding, field_selector="spec.message=x")
    one = high.items[0]
    assert (await client.get(Finding, one.name, "bank")).spec.remedy == "privileged: false"


async def test_pages_are_of_one_moment(plane: ControlPlane, findings: Findings) -> None:
    await findings.report([wrong(f"app-{n}", LOW) for n in range(7)])
    client = plane.client()
    page = await get(client, PATH, limit="3")
    await findings.report([wrong("app-9", HIGH), wrong("app-0")])
    names = [item["metadata"]["name"] for item in page["items"]]
    while token := page["metadata"].get("continue"):
        page = await get(client, PATH, **{"limit": "3", "continue": token})
        names += [item["metadata"]["name"] for item in page["items"]]
        assert all(item["status"]["state"] == "open" for item in page["items"])
    assert len(names) == len(set(names)) == 7


async def test_a_watch_tells_of_each_change_with_versions_of_its_own(plane: ControlPlane, findings: Findings) -> None:
    client = plane.client()
    await client.create(ConfigMap(metadata=ObjectMeta(name="x", namespace="shop")))
    await findings.report([wrong("first", LOW)])
    start = (await client.list(Finding)).resource_version
    assert start == str(findings.state.revision)
    events = client.watch(Finding, resource_version=start, field_selector="status.state=open")
    await findings.report([wrong("a", HIGH)])
    await findings.report([wrong("a")])
    seen = [await asyncio.wait_for(anext(events), 60) for _ in range(2)]
    assert [event.type for event in seen] == ["ADDED", "DELETED"]
    assert [event.object.metadata.resource_version for event in seen] == ["2", "3"]
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_watch_from_before_the_process_began_lists_anew(plane: ControlPlane) -> None:
    findings = Findings()
    findings.state.start((), 40)
    async with ControlPlane(beside={FINDINGS: findings.state}) as other:
        with pytest.raises(Expired):
            await anext(other.client().watch(Finding, resource_version="3"))
    await findings.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_can_be_written(plane: ControlPlane, findings: Findings, method: str) -> None:
    await findings.report([wrong("a", HIGH)])
    path = FINDINGS.path("shop", None if method == "POST" else next(iter(findings.state.rows.values())).name)
    with pytest.raises(MethodNotAllowed):
        await plane.client().request(method, path, body={})
    assert len(findings.state.rows) == 1


async def test_discovery_and_openapi_show_what_can_be_done(plane: ControlPlane) -> None:
    found = await get(plane.client(), "/apis/guard.pilothouse.dev/v1alpha1")
    entry = next(entry for entry in found["resources"] if entry["name"] == "findings")
    assert entry["verbs"] == ["get", "list", "watch"]
    document = await get(plane.client(), "/openapi/v3/apis/guard.pilothouse.dev/v1alpha1")
    spec = document["components"]["schemas"]["dev.pilothouse.guard.v1alpha1.FindingSpec"]["properties"]
    assert spec["remedy"]["type"] == "string"


async def test_tables_show_owner_severity_and_state(plane: ControlPlane, findings: Findings) -> None:
    await findings.report([wrong("a", HIGH)])
    table = await get(plane.client(), PATH, TABLE)
    heads = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert heads == ["Name", "Severity", "Risk", "Object", "Container", "Owner", "State", "Age"]
    assert table["rows"][0]["cells"][1:7] == ["high", 103, "Deployment/a", "front", "<none>", "open"]


@pytest.mark.parametrize(
    "chosen",
    [
        FindingFilter(),
        FindingFilter(severity="high"),
        FindingFilter(state="all", rule="tag"),
        FindingFilter(owner="(nobody)"),
        FindingFilter(owner="a, b=c", state="resolved"),
    ],
)
async def test_the_server_chooses_what_the_command_would(
    plane: ControlPlane, findings: Findings, chosen: FindingFilter
) -> None:
    await findings.report([wrong("a", HIGH, LOW), wrong("b", LOW), wrong("c", HIGH, namespace="bank")])
    await findings.report([wrong("b")])
    labels, fields = selectors(chosen)
    client = plane.client()
    found = await client.list(Finding, label_selector=labels, field_selector=fields)
    wanted = matcher(chosen, now())
    assert found.items == [finding for finding in (await client.list(Finding)).items if wanted(finding)]


async def test_the_command_filters_and_counts(plane: ControlPlane, findings: Findings) -> None:
    await findings.report([wrong("a", HIGH, LOW), wrong("b", LOW)])
    found = (await plane.client().list(Finding)).items
    high = [f for f in found if matcher(FindingFilter(severity="medium", newer="9w"), now())(f)]
    assert [f.spec.rule for f in high] == ["privileged"]
    assert not [f for f in found if matcher(FindingFilter(older="9w"), now())(f)]
    assert summary(found) == [{"owner": "(nobody)", "critical": 0, "high": 1, "medium": 0, "low": 2, "total": 3}]
    shown = lines(found)
    assert shown[0] == "shop/Deployment/a   owner: (nobody)"
    assert shown[-1] == "3 findings: 1 high, 2 low"


async def test_what_is_most_pressing_comes_first(plane: ControlPlane, findings: Findings) -> None:
    ref = Ref("apps/v1", "Deployment", "shop", "z")
    flaw = {"advisories": "CVE-1", "epss": "0.2000", "exposure": "Ingress front", "exposure-level": "4"}
    exploited = Found(
        Wrong(LOW, ref, "has x 1 with CVE-1", "front", "deb/x"), {**flaw, "known-exploited": "since 2024"}
    )
    await findings.report([wrong("a", HIGH), Report("images", "z", (exploited,))])
    found = (await plane.client().list(Finding)).items
    assert {finding.spec.subject.name: finding.spec.risk for finding in found} == {"a": 103, "z": 1241}
    assert [line for line in lines(found) if "owner" in line] == [
        "shop/Deployment/z   owner: (nobody)",
        "shop/Deployment/a   owner: (nobody)",
    ]
    assert "known to be exploited, EPSS 20.0%, exposed by Ingress front" in lines(found)[1]
    shown = page(content_of(found, [], now(), ""))
    assert shown.index("Deployment/z") < shown.index("Deployment/a")
    assert '<td data-key="-1241">1241</td>' in shown
