"""How each kind of receiver is told. One request or two; what it answers is the finding's name there."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from pilothouse.guard.findings.render import tree_of
from pilothouse.guard.findings.sending.decide import CLOSE, CREATE, REOPEN, UPDATE, Action, marker, text, title
from pilothouse.guard.findings.sending.settings import Target

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20, connect=5)
_DONE: Final = "done"


class Refused(Exception):
    """The receiver is away, or did not take it; the message holds no secret."""


class Courier:
    """Talks to one receiver."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target
        kinds: Mapping[str, Callable[[Action], Awaitable[str]]] = {
            "webhook": self._webhook,
            "slack": self._slack,
            "github": self._github,
            "jira": self._jira,
        }
        self._deliver = kinds[target.kind]

    async def deliver(self, action: Action) -> str:
        """Tells of one finding; the name it has there. Raises Refused."""
        return await self._deliver(action)

    async def say(self, message: str) -> None:
        """Sends plain words (a digest). Raises Refused."""
        if self._target.kind == "github":
            body = {"title": message.partition("\n")[0], "body": message}
            await self._send("POST", f"{self._target.url}/repos/{self._target.project}/issues", body)
        elif self._target.kind == "jira":
            await self._send(
                "POST", f"{self._target.url}/rest/api/2/issue", self._fields(message.partition("\n")[0], message)
            )
        else:
            await self._send("POST", self._target.url, {"text": message})

    async def _webhook(self, action: Action) -> str:
        names = {CREATE: "opened", REOPEN: "opened", UPDATE: "changed", CLOSE: "closed"}
        finding = tree_of(action.row) if action.row is not None else None
        await self._send("POST", self._target.url, {"event": names[action.what], "key": action.key, "finding": finding})
        return action.key

    async def _slack(self, action: Action) -> str:
        if action.what == UPDATE:
            return action.key  # a message cannot be changed by a webhook, and a second one is noise
        told = title(action.row) if action.row is not None else marker(action.key)
        state = "resolved" if action.what == CLOSE else "open"
        owner = f" (owner: {action.row.owner})" if action.row is not None and action.row.owner else ""
        await self._send("POST", self._target.url, {"text": f"{state}: {told}{owner}"})
        return action.key

    async def _github(self, action: Action) -> str:
        issues = f"{self._target.url}/repos/{self._target.project}/issues"
        if action.sent is None:
            assert action.row is not None
            found = await self._found_on_github(action.key)
            if found:
                return found
            made = await self._send("POST", issues, {"title": title(action.row), "body": text(action.row)})
            return str(made["number"])
        change: dict[str, Any] = {"state": "closed" if action.what == CLOSE else "open"}
        if action.row is not None and action.what != CLOSE:
            change |= {"title": title(action.row), "body": text(action.row)}
        await self._send("PATCH", f"{issues}/{action.sent.external}", change)
        return action.sent.external

    async def _found_on_github(self, key: str) -> str:
        """The issue of a finding that was made before, by a process that was killed before it could write that down."""
        asked = {"q": f'repo:{self._target.project} in:body "{marker(key)}"'}
        answer = await self._send("GET", f"{self._target.url}/search/issues", None, asked)
        items = answer.get("items") or []
        return str(items[0]["number"]) if items else ""

    async def _jira(self, action: Action) -> str:
        issue = f"{self._target.url}/rest/api/2/issue"
        if action.sent is None:
            assert action.row is not None
            asked = {
                "jql": f'project = "{self._target.project}" AND text ~ "\\"{marker(action.key)}\\""',
                "fields": "key",
            }
            answer = await self._send("GET", f"{self._target.url}/rest/api/2/search", None, asked)
            if answer.get("issues"):
                return str(answer["issues"][0]["key"])
            made = await self._send("POST", issue, self._fields(title(action.row), text(action.row)))
            return str(made["key"])
        own = f"{issue}/{action.sent.external}"
        if action.what == UPDATE and action.row is not None:
            await self._send("PUT", own, self._fields(title(action.row), text(action.row)))
            return action.sent.external
        known = (await self._send("GET", f"{own}/transitions", None)).get("transitions") or []
        closing = action.what == CLOSE
        fitting = (t for t in known if (t["to"]["statusCategory"]["key"] == _DONE) == closing)
        transition = next(fitting, None)
        if transition is None:
            raise Refused(f"{action.sent.external} has no transition to {'done' if closing else 'open'}")
        await self._send("POST", f"{own}/transitions", {"transition": {"id": transition["id"]}})
        return action.sent.external

    def _fields(self, summary: str, description: str) -> dict[str, Any]:
        project = {"key": self._target.project}
        return {
            "fields": {
                "project": project,
                "summary": summary,
                "description": description,
                "issuetype": {"name": "Task"},
            }
        }

    async def _send(self, method: str, url: str, body: Any, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        data = orjson.dumps(body) if body is not None else b""
        # The host alone: the path of a hook is its secret.
        place = urlsplit(url).netloc.rpartition("@")[2]
        try:
            headers = self._headers(data)
            async with self._session.request(
                method, url, data=data or None, params=params, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as answer:
                found = await answer.read()
                if answer.status >= 300:
                    raise Refused(f"{place} answered a {method} with {answer.status}: {found[:200]!r}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Refused(f"{place} cannot be reached: {type(error).__name__}") from error
        try:
            tree = orjson.loads(found) if found else {}
        except orjson.JSONDecodeError:
            return {}  # Slack says "ok"
        return tree if isinstance(tree, dict) else {}

    def _headers(self, data: bytes) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "pilothouse"}
        if not self._target.token_file:
            return headers
        token = Path(self._target.token_file).read_text().strip()
        if self._target.kind == "webhook":
            signature = hmac.new(token.encode(), data, hashlib.sha256).hexdigest()
            return {**headers, "x-pilothouse-signature-256": f"sha256={signature}"}
        return {**headers, "authorization": f"Bearer {token}"}
