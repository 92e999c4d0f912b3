"""After any sequence of changes to reports, restarts included, findings are what the reports that are left say."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Report
from pilothouse.guard.policy_reports.known import Known, subject_of
from pilothouse.guard.policy_reports.read import read_report
from pilothouse.kinds.guard.finding import RESOLVED
from pilothouse.machinery.objects import Obj, Resource

RESOURCE = Resource("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports", True)
RESULTS = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(["a", "b"]),
        "source": st.sampled_from(["kyverno", "trivy", "checks"]),
        "result": st.sampled_from(["fail", "pass", "error", "nonsense"]),
        "severity": st.sampled_from(["low", "critical"]),
        "resources": st.lists(
            st.fixed_dictionaries({"kind": st.just("Pod"), "name": st.sampled_from(["x", "y"])}), max_size=2
        ),
    }
)
NAMES = st.sampled_from(["one", "two"])
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.lists(RESULTS, max_size=4)),
        st.tuples(st.just("remove"), NAMES, st.none()),
        st.tuples(st.just("restart"), NAMES, st.none()),
    ),
    max_size=12,
)


class Later:
    """Each look is an hour after the last, so that nothing counts as passing."""

    def __init__(self) -> None:
        self.time = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        self.time += dt.timedelta(hours=1)
        return self.time


def tree_of(name: str, results: list[Obj]) -> Obj:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": RESOURCE.api_version, "kind": RESOURCE.kind, "metadata": metadata, "results": results}


def shown(findings: Findings) -> set[tuple[Any, ...]]:
    rows = (row for row in findings.state.rows.values() if row.state != RESOLVED)
    return {(row.key, row.source, row.subject, row.message, row.check, row.ref) for row in rows}


async def judged(trees: Iterable[Obj]) -> set[tuple[Any, ...]]:
    """What a first look at all of them finds."""
    findings, known = Findings(), Known()
    for tree in trees:
        await findings.report(known.put(subject_of(RESOURCE, "shop", tree["metadata"]["name"]), read_report(tree)))
    found = shown(findings)
    await findings.close()
    return found


@given(CHANGES)
def test_findings_are_what_the_reports_say(changes: list[tuple[str, str, list[Obj] | None]]) -> None:
    async def play() -> None:
        findings, known = Findings(now=Later()), Known()
        there: dict[str, Obj] = {}
        for what, name, results in changes:
            subject = subject_of(RESOURCE, "shop", name)
            reports: list[Report] = []
            if what == "put":
                there[name] = tree_of(name, results or [])
                reports = known.put(subject, read_report(there[name]))
            elif what == "remove":
                there.pop(name, None)
                reports = known.remove(subject)
            else:
                # Between the last change and the next process, a report may have gone or become another.
                there.pop(name, None)
                known = Known(findings.state.rows.values())
                present = {subject_of(RESOURCE, "shop", left) for left in there}
                reports = [entry for gone in known.subjects - present for entry in known.remove(gone)]
            if reports:
                await findings.report(reports)
        assert shown(findings) == await judged(there.values())
        await findings.close()

    asyncio.run(play())


def test_kinds_are_told_apart() -> None:
    cluster = Resource("wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport", "clusterpolicyreports", False)
    known = Known()
    failed = [{"policy": "a", "result": "fail"}]
    known.put(subject_of(RESOURCE, "shop", "one"), read_report(tree_of("one", failed)))
    known.put(subject_of(cluster, "", "one"), read_report({"kind": "ClusterPolicyReport", "results": failed}))

    assert known.of_kind(RESOURCE) == ["policy-report/wgpolicyk8s.io/PolicyReport/shop/one"]
    assert known.of_kind(cluster) == ["policy-report/wgpolicyk8s.io/ClusterPolicyReport//one"]
