"""The page of findings: what it shows, to whom, and that a browser runs nothing but its own script."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pilothouse.apiserver.chain import Attributes, Chain, Decision
from pilothouse.client.wire import User
from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.finding import Finding as Wrong
from pilothouse.guard.findings.console import PATH, TREND_PATH, Console
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.findings.page import content_of, page, policy
from pilothouse.guard.findings.trend import Day
from pilothouse.kinds.guard.finding import FINDINGS, Finding
from pilothouse.testing.control_plane import AllowAll, ControlPlane

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
HIGH = Check("privileged", "Privileged", Severity.HIGH, "security", "It owns the node.", "privileged: false")
LOW = Check("tag", "Tag", Severity.LOW, "hygiene", "It moves.", "image: app@sha256:…")


class ByNamespace(AllowAll):
    """Users may list the findings of the namespace they are named after; admin all."""

    async def allow(self, attributes: Attributes) -> Decision:
        if attributes.resource == "findings":
            return Decision(attributes.user.name in ("admin", attributes.namespace))
        return Decision(True)


def report(name: str, namespace: str, *checks: Check) -> Report:
    ref = Ref("apps/v1", "Deployment", namespace, name)
    found = tuple(Found(Wrong(check, ref, f"is wrong {HOSTILE}", "front", "spec"), {"n": HOSTILE}) for check in checks)
    return Report("checks", str(ref), found)


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    findings = Findings()
    await findings.report([report("app", "shop", HIGH, LOW), report("till", "bank", HIGH)])
    chain = ByNamespace()

    async def may_list(user: User, namespace: str) -> bool:
        asked = Attributes(user, "list", "", True, FINDINGS.group, FINDINGS.version, "findings", "", namespace)
        return (await chain.allow(asked)).allowed

    pages = Console(findings, may_list).pages
    async with ControlPlane(chain=Chain(chain, chain, chain), beside={FINDINGS: findings.state}, pages=pages) as made:
        yield made
    await findings.close()


async def test_everybody_sees_what_they_may_list(plane: ControlPlane) -> None:
    everything = await plane.client().send("GET", PATH)
    assert everything.status == 200
    assert b"Deployment/app" in everything.body
    assert b"Deployment/till" in everything.body
    shop = await plane.client(User("shop")).send("GET", PATH)
    assert b"Deployment/app" in shop.body
    assert b"till" not in shop.body
    assert b"namespaces shop" in shop.body
    assert (await plane.client(User("nobody")).send("GET", PATH)).status == 403
    assert (await plane.client().send("POST", PATH)).status == 405


async def test_nothing_but_the_pages_own_script_may_run(plane: ControlPlane) -> None:
    answer = await plane.client().send("GET", PATH)
    rules = answer.headers["content-security-policy"]
    assert rules == policy()
    assert "unsafe" not in rules
    assert rules.startswith("default-src 'none'")
    assert b"<script>document.title" not in answer.body
    assert b"<img" not in answer.body
    assert answer.headers["cache-control"] == "no-store"


async def written(plane: ControlPlane, folder: Path) -> Path:
    found = (await plane.client().list(Finding)).items
    file = folder / "findings.html"
    now = dt.datetime.now(dt.UTC)
    days = [Day((now.date() - dt.timedelta(days=back)).isoformat(), {"high": back, "low": 2}) for back in (90, 2, 1, 0)]
    file.write_text(page(content_of(found, days, now, "all namespaces")))
    return file


async def test_the_page_stands_alone(plane: ControlPlane, tmp_path: Path) -> None:
    text = (await written(plane, tmp_path)).read_text()
    assert "3 open (2 high, 1 low)" in text
    assert not re.search(r"(?:src|href)=\"(?!#)", text)
    assert "privileged: false" in text


async def test_a_page_of_nothing_says_so() -> None:
    text = page(content_of([], [], dt.datetime.now(dt.UTC), "all namespaces"))
    assert "nothing is open" in text
    assert "Nothing was counted yet" in text


async def test_the_trend_is_of_what_one_may_list(plane: ControlPlane) -> None:
    today = dt.datetime.now(dt.UTC).date().isoformat()

    async def told(user: str, **query: str) -> list[dict[str, object]]:
        answer = await plane.client(User(user)).send("GET", TREND_PATH, query=list(query.items()))
        assert answer.status == 200
        items: list[dict[str, object]] = json.loads(answer.body)["items"]
        return items

    assert await told("admin") == [{"day": today, "open": {"high": 2, "low": 1}}]
    assert await told("shop") == [{"day": today, "open": {"high": 1, "low": 1}}]
    assert await told("admin", namespace="bank") == [{"day": today, "open": {"high": 1}}]
    assert await told("shop", namespace="bank") == [{"day": today, "open": {}}]
    assert await told("admin", owner="somebody") == [{"day": today, "open": {}}]
    assert (await plane.client(User("nobody")).send("GET", TREND_PATH)).status == 403


async def test_the_drawing_parses_and_its_bars_are_the_counts(plane: ControlPlane, tmp_path: Path) -> None:
    text = (await written(plane, tmp_path)).read_text()
    drawing = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    bars = {path.get("class"): path.get("d", "") for path in drawing.iter("path")}
    heights = [[float(h) for h in re.findall(r"v([\d.]+)", bars[severity])] for severity in ("high", "low")]
    axis = {text.text for text in drawing.iter("text") if text.get("class") == "count"}
    assert axis == {"0", "50", "100"}
    assert heights == [[162.0, 3.6, 1.8], [3.6, 3.6, 3.6, 3.6]]
    days = [title.text for title in drawing.iter("title")]
    assert len(days) == 4
    assert (days[0] or "").endswith(": 90 high, 2 low")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the Debian package chromium")
async def test_in_a_real_browser(plane: ControlPlane, tmp_path: Path) -> None:
    """The script runs (it counts what is shown), and what findings carry does not."""
    file = await written(plane, tmp_path)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=2000",
        "--host-rules=MAP * ~NOTFOUND",
    ]
    command = ["chromium", *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    run = functools.partial(subprocess.run, capture_output=True, text=True, timeout=120, check=True)
    shown = (await asyncio.to_thread(run, command)).stdout
    assert '<span id="count">3 shown</span>' in shown
    assert "<title>Findings - Pilothouse</title>" in shown
    assert re.search(r'<svg id="trend"[^>]*>(<path|<text)', shown)
    assert "taken" not in re.findall(r"<title>(.*?)</title>", shown)
