"""Who may use the node's API, as upstream's kubelet decides it: known by certificate or token, allowed by the cluster.

The API server itself is known by the name in its certificate and may do everything; of anybody else the cluster is
asked, and its answers are kept for a while.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pilothouse.machinery.errors import ApiError, Forbidden, ServiceUnavailable, Unauthorized

API_SERVER = "system:pilothouse:apiserver"
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_FINE = {
    "/stats": "stats",
    "/metrics": "metrics",
    "/logs": "log",
    "/containerLogs": "log",
    "/checkpoint": "checkpoint",
    "/configz": "configz",
    "/healthz": "healthz",
    "/pods": "pods",
    "/runningpods": "pods",
}
"""The subresource of nodes that a path needs; `proxy` covers every path. Source: upstream's kubelet authorisation."""
_STRICT = frozenset({"stats", "metrics", "log", "checkpoint"})
"""Those for which `proxy` does not stand in."""
TOKEN_SECONDS, ALLOWED_SECONDS, DENIED_SECONDS = 120.0, 300.0, 30.0
"""How long the cluster's answers are kept; upstream's figures."""
_ANSWERS_MOST = 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was recognised."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()


class Reviewer(Protocol):
    """Asks the cluster. Raises ApiError."""

    async def who(self, token: str) -> Caller | None:
        """Whose token it is, None for nobody's."""

    async def may(self, caller: Caller, verb: str, subresource: str) -> bool:
        """Whether the caller may do that on this node."""


def names_of(certificate: Mapping[str, Any] | None) -> tuple[str, tuple[str, ...]]:
    """The subject's common name and its organisations, of a verified certificate as `ssl` describes it."""
    name, groups = "", []
    for relative in (certificate or {}).get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                name = str(value)
            elif key == "organizationName":
                groups.append(str(value))
    return name, tuple(groups)


def needed(method: str, path: str) -> tuple[str, list[str]]:
    """The verb, and the subresources of nodes of which one must be allowed."""
    verb = _VERBS.get(method, "")
    head = "/" + path.lstrip("/").partition("/")[0]
    fine = _FINE.get(head, "proxy")
    if head == "/containerLogs":
        # Upstream serves them under `proxy` alone.
        fine = "proxy"
    return verb, [fine] if fine in _STRICT or fine == "proxy" else [fine, "proxy"]


@dataclass(slots=True)
class Access:
    """Decides for each request. Without a `reviewer` nobody but those `allowed` gets in."""

    allowed: frozenset[str] = frozenset({API_SERVER})
    reviewer: Reviewer | None = None
    clock: Callable[[], float] = time.monotonic
    _tokens: dict[str, tuple[float, Caller | None]] = field(default_factory=dict)
    _answers: dict[tuple[Caller, str, str], tuple[float, bool]] = field(default_factory=dict)

    async def check(self, certificate: Mapping[str, Any] | None, authorization: str, method: str, path: str) -> None:
        """Raises Unauthorized, Forbidden, ServiceUnavailable when the cluster cannot be asked."""
        name, groups = names_of(certificate)
        if name in self.allowed:
            return
        try:
            caller = Caller(name, groups=(*groups, "system:authenticated")) if name else await self._who(authorization)
            await self._may(caller, method, path)
        except (Unauthorized, Forbidden):
            raise
        except ApiError as error:
            raise ServiceUnavailable(f"the cluster cannot be asked who may use this node: {error.message}") from error

    async def _who(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip() or self.reviewer is None:
            raise Unauthorized("the node's API asks for a client certificate or a bearer token of the cluster")
        # The token itself is not kept.
        key = hashlib.sha256(token.strip().encode()).hexdigest()
        until, caller = self._tokens.get(key, (0.0, None))
        if until <= self.clock():
            caller = await self.reviewer.who(token.strip())
            _bounded(self._tokens)
            self._tokens[key] = self.clock() + TOKEN_SECONDS, caller
        if caller is None:
            raise Unauthorized("the token is not one of the cluster")
        return caller

    async def _may(self, caller: Caller, method: str, path: str) -> None:
        verb, subresources = needed(method, path)
        for subresource in subresources:
            if await self._answer(caller, verb, subresource):
                return
        raise Forbidden(
            f"Forbidden (user={caller.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(subresources)}])"
        )

    async def _answer(self, caller: Caller, verb: str, subresource: str) -> bool:
        if self.reviewer is None:
            return False
        key = (caller, verb, subresource)
        until, answer = self._answers.get(key, (0.0, False))
        if until <= self.clock():
            answer = await self.reviewer.may(caller, verb, subresource)
            _bounded(self._answers)
            self._answers[key] = self.clock() + (ALLOWED_SECONDS if answer else DENIED_SECONDS), answer
        return answer


def _bounded(answers: dict[Any, Any]) -> None:
    """Drops the oldest answer when there are many."""
    if len(answers) >= _ANSWERS_MOST:
        del answers[next(iter(answers))]
