"""How each kind of receiver is told. A request or two; what it answers is the finding's name there.

Sources: GitHub REST documentation (issues, search); Jira REST documentation, version 2 (issue, search, transitions);
Slack, "Sending messages using incoming webhooks" and "Formatting text".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp

from pilothouse.guard.findings.model import Row
from pilothouse.guard.findings.render import tree_of
from pilothouse.guard.findings.sending.decide import CLOSE, CREATE, REOPEN, UPDATE, Action, marker, text, title
from pilothouse.guard.findings.sending.settings import Target
from pilothouse.guard.findings.sending.wire import Refused, Rejected, Wire

_DONE: Final = "done"
_LONGEST: Final = 30_000
"""Characters of a body: Jira takes 32,767, GitHub 65,536."""
_PAGE: Final = 100
_PAGES: Final = 10


class Courier:
    """Talks to one receiver."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._wire = Wire(session, target)
        self._target = target
        kinds: Mapping[str, Callable[[Action], Awaitable[str]]] = {
            "webhook": self._webhook,
            "slack": self._slack,
            "github": self._github,
            "jira": self._jira,
        }
        self._deliver = kinds[target.kind]
        self._issues = f"{target.url}/repos/{target.project}/issues"
        self._jira_api = f"{target.url}/rest/api/2"

    async def deliver(self, action: Action) -> str:
        """Tells of one finding; the name it has there. Raises Refused, Rejected."""
        return await self._deliver(action)

    async def say(self, message: str) -> None:
        """Sends plain words (a digest). Raises Refused."""
        head = message.partition("\n")[0]
        if self._target.kind == "github":
            await self._wire.send("POST", self._issues, {"title": quiet(head), "body": quiet(message)})
        elif self._target.kind == "jira":
            await self._wire.send("POST", f"{self._jira_api}/issue", self._fields(head, message, new=True))
        else:
            await self._wire.send("POST", self._target.url, {"text": escaped(message)})

    async def _webhook(self, action: Action) -> str:
        names = {CREATE: "opened", REOPEN: "opened", UPDATE: "changed", CLOSE: "closed"}
        finding = tree_of(action.row) if action.row is not None else None
        await self._wire.send(
            "POST", self._target.url, {"event": names[action.what], "key": action.key, "finding": finding}
        )
        return action.key

    async def _slack(self, action: Action) -> str:
        if action.what == UPDATE:
            return action.key  # a message cannot be changed by a webhook, and a second one is noise
        told = title(action.row) if action.row is not None else marker(action.key)
        state = "resolved" if action.what == CLOSE else "open"
        owner = f" (owner: {action.row.owner})" if action.row is not None and action.row.owner else ""
        await self._wire.send("POST", self._target.url, {"text": escaped(f"{state}: {told}{owner}")})
        return action.key

    async def _github(self, action: Action) -> str:
        row, known = action.row, action.sent.external if action.sent is not None else ""
        known = known or await self._found_on_github(action)
        if action.what == CREATE:
            if known:
                return known
            assert row is not None
            made = _tree(await self._wire.send("POST", self._issues, _github_issue(row)))
            return str(made["number"])
        if not known:
            return ""  # it was never told
        closing = action.what == CLOSE
        change: dict[str, Any] = {"state": "closed" if closing else "open"}
        if closing:
            change["state_reason"] = "completed"
        elif row is not None:
            change |= _github_issue(row)
        await self._wire.send("PATCH", f"{self._issues}/{known}", change)
        return known

    async def _found_on_github(self, action: Action) -> str:
        """The issue of a finding that was made before, by a process that was killed before it could write that down,
        or whose database was lost. Search may not know it yet, so after a try that broke off the latest are looked
        through too."""
        wanted = marker(action.key)
        asked = {"q": f'repo:{self._target.project} is:issue in:body "{wanted}"'}
        answer = _tree(await self._wire.send("GET", f"{self._target.url}/search/issues", None, asked))
        if items := answer.get("items"):
            return str(items[0]["number"])
        for page in range(1, _PAGES + 1) if action.sent is not None else ():
            asked = {"state": "all", "sort": "created", "direction": "desc", "per_page": str(_PAGE), "page": str(page)}
            found = await self._wire.send("GET", self._issues, None, asked)
            issues = found if isinstance(found, list) else []
            for issue in issues:
                if wanted in (issue.get("body") or ""):
                    return str(issue["number"])
            if len(issues) < _PAGE:
                break
        return ""

    async def _jira(self, action: Action) -> str:
        known = action.sent.external if action.sent is not None else ""
        known = known or await self._found_in_jira(action.key)
        if action.what == CREATE:
            if known:
                return known
            assert action.row is not None
            fields = self._fields(title(action.row), text(action.row, ("{code:yaml}", "{code}")), new=True)
            return str(_tree(await self._wire.send("POST", f"{self._jira_api}/issue", fields))["key"])
        if not known:
            return ""
        own = f"{self._jira_api}/issue/{known}"
        if action.what in (UPDATE, REOPEN) and action.row is not None:
            fields = self._fields(title(action.row), text(action.row, ("{code:yaml}", "{code}")))
            await self._wire.send("PUT", own, fields)
        if action.what in (CLOSE, REOPEN):
            await self._move(own, known, action.what == CLOSE)
        return known

    async def _found_in_jira(self, key: str) -> str:
        asked = {"jql": f'project = "{self._target.project}" AND text ~ "\\"{marker(key)}\\""', "fields": "key"}
        try:
            answer = _tree(await self._wire.send("GET", f"{self._jira_api}/search", None, asked))
        except Rejected as error:
            if not error.gone:
                raise
            # Jira Cloud has this search only.
            answer = _tree(await self._wire.send("GET", f"{self._jira_api}/search/jql", None, asked))
        return str(answer["issues"][0]["key"]) if answer.get("issues") else ""

    async def _move(self, own: str, name: str, closing: bool) -> None:
        """Takes an issue to done, or from it, where somebody has not done so already."""
        issue = _tree(await self._wire.send("GET", own, None, {"fields": "status"}))
        if (issue["fields"]["status"]["statusCategory"]["key"] == _DONE) == closing:
            return
        known = _tree(await self._wire.send("GET", f"{own}/transitions")).get("transitions") or []
        fitting = (t for t in known if (t["to"]["statusCategory"]["key"] == _DONE) == closing)
        transition = next(fitting, None)
        if transition is None:
            raise Rejected(f"{name} has no transition to {'done' if closing else 'open'}", gone=False)
        await self._wire.send("POST", f"{own}/transitions", {"transition": {"id": transition["id"]}})

    def _fields(self, summary: str, description: str, *, new: bool = False) -> dict[str, Any]:
        fields: dict[str, Any] = {"summary": summary, "description": description[:_LONGEST]}
        if new:
            fields |= {"project": {"key": self._target.project}, "issuetype": {"name": self._target.issue_type}}
        return {"fields": fields}


def _github_issue(row: Row) -> dict[str, str]:
    return {"title": quiet(title(row)), "body": quiet(text(row))[:_LONGEST]}


def escaped(words: str) -> str:
    """Words as Slack shows them: none of them is a command such as `<!channel>`."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quiet(words: str) -> str:
    """Words that call nobody on GitHub: what a finding is about may be named `@somebody`."""
    return words.replace("@", "@\u200b")


def _tree(answer: dict[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise Refused("the answer is a list where an object was expected")
    return answer
