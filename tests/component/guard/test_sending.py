"""Findings sent on, to servers on loopback that behave as a webhook, Slack, GitHub and Jira do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
import re
import time
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
from pilothouse.guard.findings.sending.deliver import Courier
from pilothouse.guard.findings.sending.run import Sending
from pilothouse.guard.findings.sending.settings import BadTarget, Target, parse_targets
from pilothouse.guard.findings.sending.wire import Refused

HIGH = Check("privileged", "Privileged", Severity.HIGH, "security", "It owns the node.", "privileged: false")
CRITICAL = Check("root", "Root", Severity.CRITICAL, "security", "It owns the node.", "runAsNonRoot: true")
LOW = Check("tag", "Tag", Severity.LOW, "hygiene", "It moves.", "image: app@sha256:…")


class Tracker:
    """Issues by number, as GitHub and Jira keep them, and what came to a hook.

    `down` answers everything with 503, `cloud` has Jira's newer search only, `search_lags` finds nothing by words,
    `limit` and `loses` answer the next write with a rate limit, or do it and break off. `strict` rejects titles with
    that word."""

    def __init__(self) -> None:
        self.down = self.cloud = self.search_lags = self.loses = False
        self.limit: dict[str, str] = {}
        self.strict = ""
        self.issues: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.hooked: list[dict[str, Any]] = []
        self.signed: list[tuple[str, bytes]] = []
        self.asked: list[str] = []

    @property
    def requests(self) -> int:
        return len(self.asked)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.router.add_post("/hook", self._hook)
        app.router.add_get("/search/issues", self._search)
        app.router.add_get("/repos/team/app/issues", self._list)
        app.router.add_post("/repos/team/app/issues", self._create)
        app.router.add_patch("/repos/team/app/issues/{number}", self._change)
        app.router.add_get("/rest/api/2/search", self._jql)
        app.router.add_get("/rest/api/2/search/jql", self._jql)
        app.router.add_post("/rest/api/2/issue", self._jira_create)
        app.router.add_get("/rest/api/2/issue/{number}", self._jira_get)
        app.router.add_put("/rest/api/2/issue/{number}", self._jira_change)
        app.router.add_get("/rest/api/2/issue/{number}/transitions", self._transitions)
        app.router.add_post("/rest/api/2/issue/{number}/transitions", self._move)
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.down:
            raise web.HTTPServiceUnavailable(text="down for maintenance")
        if self.limit and request.method != "GET":
            headers, self.limit = self.limit, {}
            return web.json_response({"message": "rate limit exceeded"}, status=429, headers=headers)
        number = request.match_info.get("number")
        if number in self.gone:
            return web.json_response({"message": "gone"}, status=404 if "OPS" in str(number) else 410)
        answer: web.StreamResponse = await handler(request)
        if self.loses and request.method == "POST":
            self.loses = False
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _hook(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.signed.append((request.headers.get("x-pilothouse-signature-256", ""), body))
        self.hooked.append(await request.json())
        return web.Response(text="ok")

    async def _search(self, request: web.Request) -> web.Response:
        if "is:issue" not in request.query["q"]:
            return web.json_response({"message": "Query must include 'is:issue' or 'is:pull-request'"}, status=422)
        words = re.findall(r'"(.*?)"', request.query["q"])[0]
        found = [{"number": n} for n, issue in self.issues.items() if words in issue["body"] and not self.search_lags]
        return web.json_response({"total_count": len(found), "items": found})

    async def _list(self, request: web.Request) -> web.Response:
        size, page = int(request.query["per_page"]), int(request.query["page"])
        assert request.query["state"] == "all"
        newest = [{"number": int(n), **issue} for n, issue in reversed(self.issues.items())]
        return web.json_response(newest[(page - 1) * size : page * size])

    async def _create(self, request: web.Request) -> web.Response:
        issue = await request.json()
        if len(issue["title"]) > 256 or (self.strict and self.strict in issue["title"]):
            return web.json_response({"message": "Validation Failed"}, status=422)
        number = str(len(self.issues) + 1)
        self.issues[number] = {"state": "open", **issue}
        return web.json_response({"number": int(number)}, status=201)

    async def _change(self, request: web.Request) -> web.Response:
        self.issues[request.match_info["number"]].update(await request.json())
        return web.json_response({})

    async def _jql(self, request: web.Request) -> web.Response:
        if self.cloud != request.path.endswith("/jql"):
            return web.json_response({"errorMessages": ["no such search"]}, status=410 if self.cloud else 404)
        words = re.findall(r'\\"(.*?)\\"', request.query["jql"])[0]
        return web.json_response(
            {"issues": [{"key": n} for n, issue in self.issues.items() if words in issue["description"]]}
        )

    async def _jira_create(self, request: web.Request) -> web.Response:
        fields = (await request.json())["fields"]
        if fields["project"] != {"key": "OPS"} or not fields["issuetype"]["name"]:
            return web.json_response({"errors": {"project": "valid project is required"}}, status=400)
        number = f"OPS-{len(self.issues) + 1}"
        self.issues[number] = {"state": "open", **fields}
        return web.json_response({"key": number}, status=201)

    async def _jira_get(self, request: web.Request) -> web.Response:
        done = self.issues[request.match_info["number"]]["state"] == "closed"
        status = {"statusCategory": {"key": "done" if done else "new"}}
        return web.json_response({"fields": {"status": status}})

    async def _jira_change(self, request: web.Request) -> web.Response:
        self.issues[request.match_info["number"]].update((await request.json())["fields"])
        return web.Response(status=204)

    async def _transitions(self, request: web.Request) -> web.Response:
        """Those that lead somewhere else: nothing leads from done to done."""
        done = self.issues[request.match_info["number"]]["state"] == "closed"
        kinds = (("11", "new"),) if done else (("21", "indeterminate"), ("31", "done"))
        return web.json_response({"transitions": [{"id": n, "to": {"statusCategory": {"key": k}}} for n, k in kinds]})

    async def _move(self, request: web.Request) -> web.Response:
        chosen = (await request.json())["transition"]["id"]
        if chosen not in ("11", "21", "31"):
            return web.json_response({"errorMessages": ["no such transition"]}, status=400)
        self.issues[request.match_info["number"]]["state"] = "closed" if chosen == "31" else "open"
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


@pytest.mark.parametrize("kind", ["github", "jira"])
async def test_what_was_made_by_a_try_that_broke_off_is_found_again(world: World, kind: str) -> None:
    target = world.target(kind)
    world.tracker.search_lags, world.tracker.cloud = True, kind == "jira"
    world.tracker.loses = True
    await world.report("app", HIGH)
    with pytest.raises(Refused):
        await world.send(target)
    await world.send(target)
    assert len(world.tracker.issues) == 1
    await world.report("app")
    await world.send(target)
    assert [issue["state"] for issue in world.tracker.issues.values()] == ["closed"]


async def test_what_ended_while_it_was_not_sure_to_be_told_is_closed(world: World) -> None:
    target = world.target("github")
    world.tracker.loses = True
    await world.report("app", HIGH)
    with pytest.raises(Refused):
        await world.send(target)
    await world.report("app")
    await world.send(target)
    assert [issue["state"] for issue in world.tracker.issues.values()] == ["closed"]


@pytest.mark.parametrize("kind", ["github", "jira"])
async def test_an_issue_that_somebody_took_away_is_made_anew_and_holds_up_nothing(world: World, kind: str) -> None:
    target = world.target(kind)
    await world.report("app", HIGH)
    await world.send(target)
    (number,) = world.tracker.issues
    world.tracker.gone.add(number)
    del world.tracker.issues[number]
    world.tracker.issues["0"] = {"body": "", "description": "", "title": "somebody else's", "summary": ""}
    await world.report("app", HIGH, message="is still wrong")
    await world.report("other", HIGH)
    await world.send(target)
    await world.send(target)
    titles = sorted(issue.get("title") or issue["summary"] for issue in world.tracker.issues.values())
    assert [title for title in titles if title.startswith("[high]")] == [
        "[high] shop/Deployment/app: container front is still wrong",
        "[high] shop/Deployment/other: container front is wrong",
    ]


async def test_one_that_is_not_taken_does_not_hold_up_the_others_and_is_told(world: World) -> None:
    target = world.target("github")
    world.tracker.strict = "/a:"
    await world.report("a", HIGH)
    await world.report("b", HIGH)
    problem = await world.sending.send(Courier(world.session, target), target)
    assert "there does not take some findings (1)" in problem
    assert len(world.tracker.issues) == 1
    before = world.tracker.asked.count("POST /repos/team/app/issues")
    await world.send(target)
    assert world.tracker.asked.count("POST /repos/team/app/issues") == before
    world.tracker.strict = ""
    await world.report("a", HIGH, message="is worse")
    assert await world.sending.send(Courier(world.session, target), target) == ""
    assert len(world.tracker.issues) == 2


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"retry-after": "120"}, 120),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "in 600"}, 500),
        ({}, 0),
    ],
    ids=["after", "reset", "unsaid"],
)
async def test_a_rate_limit_is_kept_to(world: World, headers: dict[str, str], least: float) -> None:
    target = world.target("github")
    await world.report("app", HIGH)
    reset = {"x-ratelimit-reset": str(int(time.time()) + 600)} if "x-ratelimit-reset" in headers else {}
    world.tracker.limit = {"x-from": "github", **headers, **reset}  # a moment that counts from now, not from collection
    with pytest.raises(Refused) as caught:
        await world.send(target)
    assert caught.value.wait >= least
    assert bool(caught.value.wait) == bool(headers)
    await world.send(target)
    assert len(world.tracker.issues) == 1


async def test_an_issue_that_somebody_closed_is_left_closed(world: World) -> None:
    target = world.target("jira")
    await world.report("app", HIGH)
    await world.send(target)
    (issue,) = world.tracker.issues.values()
    issue["state"] = "closed"
    await world.report("app")
    await world.send(target)
    assert issue["state"] == "closed"
    assert not [asked for asked in world.tracker.asked if asked.startswith("POST") and "transitions" in asked]


async def test_words_of_the_cluster_call_nobody(world: World) -> None:
    await world.report("app", HIGH, message="is <!channel> & @everybody")
    await world.send(world.target("slack"))
    assert "is &lt;!channel&gt; &amp; @everybody" in world.tracker.hooked[0]["text"]
    await world.send(dataclasses.replace(world.target("github"), name="tracker"))
    (issue,) = world.tracker.issues.values()
    assert "@everybody" not in issue["title"] + issue["body"]


async def test_a_receiver_that_is_down_and_a_mistaken_file_are_findings(world: World, tmp_path: Path) -> None:
    file = tmp_path / "forward.yaml"
    file.write_text(f"- {{name: desk, kind: slack, url: '{world.url}/hook'}}\n")

    def wrong() -> dict[str, str]:
        rows = world.findings.state.rows.values()
        return {row.check.id: row.message for row in rows if row.state == "open" and row.source == "files"}

    await world.report("app", HIGH)
    world.tracker.down = True
    await world.sending.look(world.session)
    assert "desk is not told of findings: 127.0.0.1" in wrong()["receiver-not-told"]
    assert "hook" not in wrong()["receiver-not-told"]
    file.write_text("- {name: desk, kind: fax}\n")
    await world.sending.look(world.session)
    assert "forward.yaml:1: kind 'fax'" in wrong()["guard-file-mistaken"]
    world.time += dt.timedelta(minutes=2)
    file.unlink()
    await world.sending.look(world.session)
    assert wrong() == {}


async def test_a_digest_that_broke_off_goes_on_where_it_stopped(world: World) -> None:
    class ByName:
        def owner(self, ref: Ref) -> str:
            return ref.name

        def exemption(self, finding: Finding) -> str:
            return ""

    world.findings.world = ByName()
    target = world.target("slack", digest=dt.time(12))
    for name in ("ann", "bob"):
        await world.report(name, HIGH)
    world.tracker.limit = {"retry-after": "1"}
    with pytest.raises(Refused):
        await world.send(target)
    await world.send(target)
    await world.send(target)
    assert [told["text"].partition(":")[0] for told in world.tracker.hooked] == ["ann", "bob"]


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
        ("- {name: a, kind: slack, url: x}\n", ":1: url is no http"),
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
