"""One request to a receiver, and what its refusal means: whether it is of this finding alone, and when to come again.

Sources: GitHub REST documentation, "Rate limits for the REST API" (403 or 429 with `retry-after`, or with
`x-ratelimit-remaining: 0` and `x-ratelimit-reset`); Slack, "Rate limits" and Atlassian, "Rate limiting" (429 with
`retry-after`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from pilothouse.guard.findings.sending.settings import Target

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20, connect=5)
_LIMITED: Final = frozenset({403, 429})
_OF_THIS_ONE: Final = frozenset({400, 404, 409, 410, 413, 422})
_UNSURE: Final = frozenset({500, 502, 504})
"""Something behind what answered may have done it."""
LONGEST_WAIT_SECONDS: Final = 3600.0


class Refused(Exception):
    """The receiver is away or wants nothing now; the message holds no secret. `wait` are the seconds it asked for;
    `unsure`: it may have taken it all the same."""

    def __init__(self, message: str, wait: float = 0.0, unsure: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.unsure = unsure


class Rejected(Refused):
    """It did not take this one, and will not take it as it is; others it may. `gone`: what was to be changed is no
    more."""

    def __init__(self, message: str, gone: bool) -> None:
        super().__init__(message)
        self.gone = gone


class Wire:
    """Requests to one receiver."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target

    async def send(
        self, method: str, url: str, body: Any = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any] | list[Any]:
        """The answer's JSON, {} when it is none. Raises Refused."""
        data = orjson.dumps(body) if body is not None else b""
        # The host alone: the path of a hook is its secret.
        place = urlsplit(url).netloc.rpartition("@")[2]
        try:
            async with self._session.request(
                method,
                url,
                data=data or None,
                params=params,
                headers=self._headers(data),
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as answer:
                found = await answer.read()
                if answer.status >= 300:
                    raise _refusal(answer, f"{place} answered a {method} with {answer.status}: {found[:200]!r}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            unsure = not isinstance(error, aiohttp.ClientConnectorError)
            raise Refused(f"{place} cannot be reached: {type(error).__name__}", unsure=unsure) from error
        try:
            tree = orjson.loads(found) if found else {}
        except orjson.JSONDecodeError:
            return {}  # Slack says "ok"
        return tree if isinstance(tree, dict | list) else {}

    def _headers(self, data: bytes) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "pilothouse"}
        if not self._target.token_file:
            return headers
        token = Path(self._target.token_file).read_text().strip()
        if self._target.kind == "webhook":
            signature = hmac.new(token.encode(), data, hashlib.sha256).hexdigest()
            return {**headers, "x-pilothouse-signature-256": f"sha256={signature}"}
        if self._target.kind == "jira" and ":" in token:  # Jira Cloud: the account's address and its token
            return {**headers, "authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
        return {**headers, "authorization": f"Bearer {token}"}


def _refusal(answer: aiohttp.ClientResponse, message: str) -> Refused:
    if answer.status in _LIMITED and (wait := _wait(answer.headers)):
        return Refused(message, min(wait, LONGEST_WAIT_SECONDS))
    if answer.status in _OF_THIS_ONE:
        return Rejected(message, answer.status in (404, 410))
    return Refused(message, unsure=answer.status in _UNSURE)


def _wait(headers: Mapping[str, str]) -> float:
    """The seconds that a receiver asks to be left alone, 0 when it does not say."""
    try:
        if "retry-after" in headers:
            return max(float(headers["retry-after"]), 1.0)
        if headers.get("x-ratelimit-remaining") == "0":
            return max(float(headers["x-ratelimit-reset"]) - time.time(), 1.0)
    except (KeyError, ValueError):
        pass
    return 0.0
