"""Findings: what reports open, resolve and keep; bounds; restarts."""

import asyncio
import datetime as dt
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings import database
from pilothouse.guard.findings.findings import KEPT_RESOLVED, Findings
from pilothouse.guard.findings.model import Basis, Found, Report, Row

APP = Ref("apps/v1", "Deployment", "shop", "app")
CHECKS = {
    name: Check(name, name.title(), severity, "security", "It matters.", "# mend it")
    for name, severity in (("privileged", Severity.HIGH), ("no-limits", Severity.MEDIUM), ("tag", Severity.LOW))
}


class Clock:
    """A clock that tests move; `hours` makes each look so much later than the last."""

    def __init__(self, hours: float = 0.0) -> None:
        self.time = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
        self._step = dt.timedelta(hours=hours)

    def __call__(self) -> dt.datetime:
        self.time += self._step
        return self.time


def report(*rules: str, subject: str = "app", basis: Basis | None = None, ref: Ref = APP) -> Report:
    found = tuple(Found(Finding(CHECKS[rule], ref, "is wrong", "front", "spec.x")) for rule in rules)
    return Report("checks", subject, found, basis or Basis())


def states(findings: Findings) -> dict[str, str]:
    return {row.check.id: row.state for row in findings.state.rows.values()}


def row(findings: Findings, rule: str) -> Row:
    return next(row for row in findings.state.rows.values() if row.check.id == rule)


async def test_what_is_gone_within_a_minute_leaves_nothing() -> None:
    findings = Findings()
    await findings.report([report("tag", "privileged")])
    await findings.report([report("tag")])
    assert states(findings) == {"tag": "open"}
    await findings.close()


async def test_what_is_new_opens_and_what_is_missing_resolves() -> None:
    findings = Findings(now=Clock(hours=1))
    await findings.report([report("privileged", "tag")])
    assert states(findings) == {"privileged": "open", "tag": "open"}
    await findings.report([report("tag")])
    assert states(findings) == {"privileged": "resolved", "tag": "open"}
    await findings.report([report("privileged", "tag")])
    assert states(findings) == {"privileged": "open", "tag": "open"}
    assert [change.state for change in await findings.history()] == ["open", "resolved", "open", "open"]
    await findings.close()


async def test_what_stays_keeps_its_age_and_makes_no_event() -> None:
    clock = Clock()
    findings = Findings(now=clock)
    await findings.report([report("tag")])
    revision = findings.state.revision
    clock.time += dt.timedelta(minutes=5)
    await findings.report([report("tag")])
    assert findings.state.revision == revision
    clock.time += dt.timedelta(hours=2)
    await findings.report([report("tag")])
    found = row(findings, "tag")
    assert (found.first_seen, found.last_seen) == ("2026-11-01T00:00:00Z", "2026-11-01T02:05:00Z")
    await findings.close()


async def test_why_a_finding_is_new() -> None:
    findings = Findings()
    await findings.report([report("tag", basis=Basis("1", "1", "1"))])
    await findings.report([report("tag", "no-limits", basis=Basis("1", "2", "1"))])
    await findings.report([report("tag", "no-limits", "privileged", basis=Basis("1", "2", "2"))])
    reasons = [row(findings, rule).because for rule in ("tag", "no-limits", "privileged")]
    assert reasons == ["ObjectChanged", "RuleChanged", "DataChanged"]
    await findings.close()


async def test_subjects_that_are_no_more_resolve() -> None:
    findings = Findings(now=Clock(hours=1))
    await findings.report([report("tag", subject="a"), report("privileged", subject="b")])
    await findings.retain("checks", {"a"})
    assert states(findings) == {"tag": "open", "privileged": "resolved"}
    await findings.close()


async def test_resolved_ones_are_forgotten_after_a_while() -> None:
    clock = Clock()
    findings = Findings(now=clock)
    await findings.report([report("tag")])
    clock.time += dt.timedelta(hours=1)
    await findings.report([report()])
    assert states(findings) == {"tag": "resolved"}
    clock.time += KEPT_RESOLVED + dt.timedelta(seconds=1)
    await findings.sweep()
    assert states(findings) == {}
    await findings.close()


async def test_a_new_process_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    first = Findings(tmp_path / "findings.db")
    await first.report([report("tag", "privileged", basis=Basis("1", "1"))])
    revision, rows = first.state.revision, dict(first.state.rows)
    await first.close()
    second = Findings(tmp_path / "findings.db")
    assert second.state.revision == revision
    assert second.state.rows == rows
    await second.report([report("tag", "privileged", "no-limits", basis=Basis("1", "2"))])
    assert row(second, "no-limits").because == "RuleChanged"
    assert row(second, "no-limits").revision > revision
    await second.close()


async def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "findings.db").write_bytes(b"no database at all" * 100)
    findings = Findings(tmp_path / "findings.db")
    await findings.report([report("tag")])
    assert states(findings) == {"tag": "open"}
    assert (tmp_path / "findings.damaged").exists()
    await findings.close()


async def test_beyond_the_limit_the_least_severe_are_left_out_and_that_is_told() -> None:
    findings = Findings(limit=2)
    await findings.report([report("tag", "privileged", "no-limits")])
    assert states(findings) == {"privileged": "open", "no-limits": "open"}
    await findings.sweep()
    assert states(findings)["findings-left-out"] == "open"
    await findings.close()


async def test_a_cancelled_report_is_either_there_or_not() -> None:
    findings = Findings()
    task = asyncio.ensure_future(findings.report([report("tag")]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await findings.report([report("tag", "privileged")])
    assert states(findings) == {"tag": "open", "privileged": "open"}
    await findings.close()


async def test_owners_and_exemptions_are_asked_for_again() -> None:
    class World:
        def owner(self, ref: Ref) -> str:
            return "shop-team"

        def exemption(self, finding: Finding) -> str:
            return "shop/known" if finding.check.id == "tag" else ""

    findings = Findings()
    await findings.report([report("tag", "privileged")])
    findings.world = World()
    await findings.reconsider()
    assert states(findings) == {"tag": "accepted", "privileged": "open"}
    assert {r.owner for r in findings.state.rows.values()} == {"shop-team"}
    await findings.close()


async def test_while_nothing_is_known_owners_and_exemptions_hold(tmp_path: Path) -> None:
    class World:
        def owner(self, ref: Ref) -> str:
            return "shop-team"

        def exemption(self, finding: Finding) -> str:
            return "shop/known"

    first = Findings(tmp_path / "findings.db")
    first.world = World()
    await first.report([report("tag")])
    await first.close()
    second = Findings(tmp_path / "findings.db")
    revision = second.state.revision
    await second.report([report("tag")])
    assert (row(second, "tag").owner, row(second, "tag").state) == ("shop-team", "accepted")
    assert second.state.revision == revision
    await second.close()


async def test_the_trend_counts_what_is_open() -> None:
    clock = Clock()
    findings = Findings(now=clock)
    await findings.report([report("tag", "privileged")])
    await findings.sweep()
    clock.time += dt.timedelta(days=1)
    await findings.report([report("tag")])
    points = {(point.day, point.severity): point.open for point in await findings.trend()}
    assert points == {("2026-11-01", "low"): 1, ("2026-11-01", "high"): 1, ("2026-11-02", "low"): 1}
    await findings.close()


async def test_a_day_of_nothing_is_counted_too() -> None:
    findings = Findings(now=Clock())
    (point,) = await findings.trend()
    assert (point.day, point.open) == ("2026-11-01", 0)
    await findings.close()


async def test_counts_of_a_first_version_stay(tmp_path: Path) -> None:
    await Findings(tmp_path / "findings.db").close()
    with sqlite3.connect(tmp_path / "findings.db") as old:
        old.execute("CREATE TABLE trend (day TEXT, owner TEXT, severity TEXT, open INTEGER)")
        old.execute("INSERT INTO trend VALUES ('2026-10-01', 'shop-team', 'high', 7)")
    findings = Findings(tmp_path / "findings.db", now=Clock())
    first, _ = await findings.trend()
    assert first == ("2026-10-01", "", "shop-team", "high", 7)
    await findings.close()


async def test_the_oldest_days_go_when_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "TREND_ROWS", 3)
    clock = Clock()
    clock.time = dt.datetime.now(dt.UTC) - dt.timedelta(days=3)
    findings = Findings(now=clock)
    await findings.report([report("tag", "privileged")])
    days = []
    for _ in range(3):
        await findings.sweep()
        days.append(f"{clock.time:%Y-%m-%d}")
        clock.time += dt.timedelta(days=1)
    assert {point.day for point in await findings.trend()} == {days[-1], f"{clock.time:%Y-%m-%d}"}
    await findings.close()


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    async def make() -> None:
        await Findings(tmp_path / "findings.db").close()

    asyncio.run(make())
    assert (tmp_path / "findings.db").stat().st_mode & 0o777 == 0o600
    assert sqlite3.connect(tmp_path / "findings.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)


RULES = st.frozensets(st.sampled_from(sorted(CHECKS)))


@given(st.lists(st.tuples(st.sampled_from("abc"), RULES), max_size=12))
def test_after_any_reports_what_is_open_is_what_the_last_ones_said(steps: list[tuple[str, frozenset[str]]]) -> None:
    async def play() -> None:
        findings = Findings(now=Clock(hours=1))
        for subject, rules in steps:
            ref = APP._replace(name=subject)
            await findings.report([report(*sorted(rules), subject=subject, ref=ref)])
        open_ = {(r.subject, r.check.id) for r in findings.state.rows.values() if r.state == "open"}
        last = dict(steps)
        assert open_ == {(subject, rule) for subject, rules in last.items() for rule in rules}
        revisions = [r.revision for r in findings.state.rows.values()]
        assert len(set(revisions)) == len(revisions)
        await findings.close()

    asyncio.run(play())
