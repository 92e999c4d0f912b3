"""The page of findings: what it shows, to whom, and that a browser runs nothing but its own script."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pilothouse.apiserver.chain import Attributes, Chain, Decision
from pilothouse.client.wire import User
from pilothouse.guard.finding import Check, Ref, Severity
from pilothouse.guard.finding import Finding as Wrong
from pilothouse.guard.findings.console import PATH, Console
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.findings.page import page, policy
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

    pages = {PATH: Console(findings.state, may_list)}
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
    file.write_text(page(found, dt.datetime.now(dt.UTC)))
    return file


async def test_the_page_stands_alone(plane: ControlPlane, tmp_path: Path) -> None:
    text = (await written(plane, tmp_path)).read_text()
    assert "3 open (2 high, 1 low)" in text
    assert not re.search(r"(?:src|href)=\"(?!#)", text)
    assert "privileged: false" in text


async def test_a_page_of_nothing_says_so() -> None:
    assert "nothing is open" in page([], dt.datetime.now(dt.UTC))


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
    assert "taken" not in re.findall(r"<title>(.*?)</title>", shown)
