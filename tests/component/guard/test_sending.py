"""Findings sent on, to servers on loopback that behave as a webhook, Slack, GitHub and Jira do."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report
from pilothouse.guard.findings.sending.decide import actions
from pilothouse.guard.findings.sending.deliver import Courier, Refused
from pilothouse.guard.findings.sending.run import Sending
from pilothouse.guard.findings.sending.settings import BadTarget, Target, parse_targets

HIGH = Check("privileged", "Privileged", Severity.HIGH, "security", "It owns the node.", "privileged: false")
CRITICAL = Check("root", "Root", Severity.CRITICAL, "security", "It owns the node.", "runAsNonRoot: true")
LOW = Check("tag", "Tag", Severity.LOW, "hygiene", "It moves.", "image: app@sha256:…")


class Tracker:
    """Issues by number, as GitHub and Jira keep them, and what came to a hook. `down` answers everything with 503."""

    def __init__(self) -> None:
        self.down = False
        self.issues: dict[str, dict[str, Any]] = {}
        self.hooked: list[dict[str, Any]] = []
        self.signed: list[tuple[str, bytes]] = []
        self.requests = 0

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.router.add_post("/hook", self._hook)
        app.router.add_get("/search/issues", self._search)
        app.router.add_post("/repos/team/app/issues", self._create)
        app.router.add_patch("/repos/team/app/issues/{number}", self._change)
        app.router.add_get("/rest/api/2/search", self._jql)
        app.router.add_post("/rest/api/2/issue", self._jira_create)
        app.router.add_put("/rest/api/2/issue/{number}", self._jira_change)
        app.router.add_get("/rest/api/2/issue/{number}/transitions", self._transitions)
        app.router.add_post("/rest/api/2/issue/{number}/transitions", self._move)
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests += 1
        if self.down:
            raise web.HTTPServiceUnavailable(text="down for maintenance")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _hook(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.signed.append((request.headers.get("x-pilothouse-signature-256", ""), body))
        self.hooked.append(await request.json())
        return web.Response(text="ok")

    async def _search(self, request: web.Request) -> web.Response:
        words = re.findall(r'"(.*?)"', request.query["q"])[0]
        return web.json_response(
            {"items": [{"number": n} for n, issue in self.issues.items() if words in issue["body"]]}
        )

    async def _create(self, request: web.Request) -> web.Response:
        number = str(len(self.issues) + 1)
        self.issues[number] = {"state": "open", **(await request.json())}
        return web.json_response({"number": int(number)}, status=201)

    async def _change(self, request: web.Request) -> web.Response:
        self.issues[request.match_info["number"]].update(await request.json())
        return web.json_response({})

    async def _jql(self, request: web.Request) -> web.Response:
        words = re.findall(r'\\"(.*?)\\"', request.query["jql"])[0]
        return web.json_response(
            {"issues": [{"key": n} for n, issue in self.issues.items() if words in issue["description"]]}
        )

    async def _jira_create(self, request: web.Request) -> web.Response:
        number = f"OPS-{len(self.issues) + 1}"
        self.issues[number] = {"state": "open", **(await request.json())["fields"]}
        return web.json_response({"key": number}, status=201)

    async def _jira_change(self, request: web.Request) -> web.Response:
        self.issues[request.match_info["number"]].update((await request.json())["fields"])
        return web.Response(status=204)

    async def _transitions(self, request: web.Request) -> web.Response:
        kinds = (("11", "new"), ("31", "done"))
        return web.json_response({"transitions": [{"id": n, "to": {"statusCategory": {"key": k}}} for n, k in kinds]})

    async def _move(self, request: web.Request) -> web.Response:
        done = (await request.json())["transition"]["id"] == "31"
        self.issues[request.match_info["number"]]["state"] = "closed" if done else "open"
        return web.Response(status=204)


class World:
    """Findings with a clock, a tracker on loopback, and one receiver."""

    def __init__(self, tracker: Tracker, url: str, session: aiohttp.ClientSession, folder: Path) -> None:
        self.time = dt.datetime(2026, 11, 2, 12, 0, tzinfo=dt.UTC)
        self.tracker = tracker
        self.url = url
        self.findings = Findings(now=lambda: self.time)
        self.session = session
        self.sending = Sending(self.findings, folder / "forward.yaml", now=lambda: self.time)

    async def report(self, name: str, *checks: Check, message: str = "is wrong") -> None:
        """What is wrong with one object, two minutes later."""
        ref = Ref("apps/v1", "Deployment", "shop", name)
        found = tuple(Found(Finding(check, ref, message, "front")) for check in checks)
        await self.findings.report([Report("checks", name, found)])
        self.time += dt.timedelta(minutes=2)

    def target(self, kind: str, **more: Any) -> Target:
        path = "/hook" if kind in ("webhook", "slack") else ""
        project = {"github": "team/app", "jira": "OPS"}.get(kind, "")
        return Target("there", kind, self.url + path, project, **more)

    async def send(self, target: Target) -> None:
        await self.sending.send(Courier(self.session, target), target)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    tracker = Tracker()
    runner = web.AppRunner(tracker.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        made = World(tracker, f"http://127.0.0.1:{port}", session, tmp_path)
        yield made
        await made.findings.close()
    await runner.cleanup()


@pytest.mark.parametrize("kind", ["github", "jira"])
async def test_an_issue_is_made_changed_closed_and_opened_again(world: World, kind: str) -> None:
    target = world.target(kind)
    await world.report("app", HIGH, LOW)
    await world.send(target)
    ((number, issue),) = world.tracker.issues.items()
    title, body = (issue["title"], issue["body"]) if kind == "github" else (issue["summary"], issue["description"])
    assert title == "[high] shop/Deployment/app: container front is wrong"
    assert "privileged: false" in body
    before = world.tracker.requests
    await world.send(target)
    assert world.tracker.requests == before
    await world.report("app", HIGH, message="is still wrong")
    await world.send(target)
    assert "is still wrong" in str(world.tracker.issues[number])
    await world.report("app")
    await world.send(target)
    assert world.tracker.issues[number]["state"] == "closed"
    await world.report("app", HIGH)
    await world.send(target)
    assert {n: i["state"] for n, i in world.tracker.issues.items()} == {number: "open"}


async def test_hooks_are_told_and_signed(world: World, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("harbour\n")
    target = world.target("webhook", token_file=str(tmp_path / "secret"))
    await world.report("app", HIGH)
    await world.send(target)
    await world.report("app")
    await world.send(target)
    assert [told["event"] for told in world.tracker.hooked] == ["opened", "closed"]
    assert world.tracker.hooked[0]["finding"]["spec"]["remedy"] == "privileged: false"
    signature, body = world.tracker.signed[0]
    assert signature == "sha256=" + hmac.new(b"harbour", body, hashlib.sha256).hexdigest()


async def test_slack_is_told_in_a_line(world: World) -> None:
    await world.report("app", HIGH)
    await world.send(world.target("slack"))
    assert world.tracker.hooked == [{"text": "open: [high] shop/Deployment/app: container front is wrong"}]


async def test_nothing_is_lost_and_nothing_floods_when_a_tracker_was_down(world: World) -> None:
    target = world.target("github", per_minute=2)
    world.tracker.down = True
    for name in ("a", "b", "c", "passing"):
        await world.report(name, HIGH)
    for _ in range(3):
        with pytest.raises(Refused, match="503"):
            await world.send(target)
    await world.report("passing")
    world.tracker.down = False
    await world.send(target)
    assert len(world.tracker.issues) == 2
    await world.send(target)
    await world.send(target)
    titles = sorted(issue["title"] for issue in world.tracker.issues.values())
    assert titles == [f"[high] shop/Deployment/{name}: container front is wrong" for name in "abc"]


async def test_a_kill_between_sending_and_noting_makes_no_second_issue(world: World) -> None:
    for kind in ("github", "jira"):
        world.tracker.issues.clear()
        target = world.target(kind)
        await world.report(kind, HIGH)
        await world.send(target)
        for key in await world.findings.sent(target.name):
            await world.findings.note_sent(target.name, key, None)
        await world.send(target)
        assert len({issue.get("title") or issue["summary"] for issue in world.tracker.issues.values()}) == len(
            world.tracker.issues
        )


async def test_a_receiver_that_fails_is_left_alone_for_longer_each_time(world: World) -> None:
    world.tracker.down = True
    await world.report("app", HIGH)
    target = world.target("github")
    await world.sending._round(world.session, target)
    asked = world.tracker.requests
    await world.sending._round(world.session, target)
    assert world.tracker.requests == asked > 0


async def test_quiet_hours_let_only_what_is_critical_and_new_through(world: World) -> None:
    quiet = world.target("slack", quiet=(dt.time(22), dt.time(7)))
    await world.report("app", HIGH, CRITICAL)
    night, day = (world.time.replace(hour=hour) + dt.timedelta(days=1) for hour in (23, 12))
    rows = world.findings.state.rows
    assert [a.row.check.id for a in actions(quiet, rows, {}, night) if a.row] == ["root"]
    assert [a.row.check.id for a in actions(quiet, rows, {}, day) if a.row] == ["root", "privileged"]


async def test_a_digest_goes_once_a_day_by_owner(world: World) -> None:
    target = world.target("slack", digest=dt.time(14))
    await world.report("app", HIGH, CRITICAL)
    await world.send(target)
    assert world.tracker.hooked == []
    world.time += dt.timedelta(hours=2)
    await world.send(target)
    await world.send(target)
    (told,) = world.tracker.hooked
    assert told["text"].splitlines()[0] == "(nobody): 2 findings (1 critical, 1 high)"
    world.time += dt.timedelta(days=1)
    await world.send(target)
    assert len(world.tracker.hooked) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, kind: slack, url: https://x}\n- {name: b, kind: fax, url: https://x}\n", ":2: kind 'fax'"),
        ("- {name: a, kind: slack, url: x}\n", ":1: url 'x'"),
        ("- {name: a, kind: jira, url: https://x}\n", ":1: project is missing"),
        ("- {name: a, kind: slack, url: https://x, token: t}\n", ":1: there is no 'token'"),
        ("- {name: a, kind: slack, url: https://x, quiet: 25-7}\n", "is no time of day"),
        ("- {name: a, kind: slack, url: https://x, severity: bad}\n", "is no severity"),
        ("- {name: a\n", "not YAML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parse_targets(text, "forward.yaml")
    assert str(caught.value).startswith("forward.yaml:")
    assert said in str(caught.value)
