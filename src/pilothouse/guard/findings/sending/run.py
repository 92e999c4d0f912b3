"""Sends findings on, receiver by receiver: what is left to send, at a bounded rate, until it is taken."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import aiohttp

from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.sending.decide import CLOSE, actions, digest, digest_text, words
from pilothouse.guard.findings.sending.deliver import Courier, Refused
from pilothouse.guard.findings.sending.settings import BadTarget, Target, parse_targets
from pilothouse.guard.findings.sent import Sent

log = logging.getLogger(__name__)
_ROUND_SECONDS = 60.0
_LONGEST_SECONDS = 900.0
_DIGEST = "digest"


class Sending:
    """Runs for the receivers that `file` names; it is read again each round."""

    def __init__(
        self,
        findings: Findings,
        file: Path,
        *,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        round_seconds: float = _ROUND_SECONDS,
    ) -> None:
        self._findings = findings
        self._file = file
        self._now = now
        self._seconds = round_seconds
        self._failures: dict[str, int] = {}
        self._after: dict[str, float] = {}
        self._told = ""

    async def run(self) -> None:
        """Runs until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                await asyncio.gather(*(self._round(session, target) for target in self.targets()))
                await asyncio.sleep(self._seconds)

    def targets(self) -> list[Target]:
        """The receivers there are; a mistake in the file is logged once, and nothing is sent until it is mended."""
        try:
            return parse_targets(self._file.read_text(), str(self._file))
        except FileNotFoundError:
            return []
        except (BadTarget, OSError, UnicodeDecodeError) as error:
            if str(error) != self._told:
                log.error("findings are not sent on: %s", error)
                self._told = str(error)
            return []

    async def _round(self, session: aiohttp.ClientSession, target: Target) -> None:
        """As much as a receiver is sent in a minute; one that failed is left alone for longer each time."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._after.get(target.name, 0.0):
            return
        try:
            await self.send(Courier(session, target), target)
            self._failures.pop(target.name, None)
        except (Refused, LookupError, TypeError, ValueError, sqlite3.Error) as error:
            # Trackers answer with what they like: what cannot be read is a refusal too.
            failures = self._failures[target.name] = self._failures.get(target.name, 0) + 1
            wait = min(self._seconds * 2 ** min(failures, 8), _LONGEST_SECONDS)
            self._after[target.name] = loop.time() + wait
            log.warning("%s is not told of findings, again in %.0f s: %s", target.name, wait, error)

    async def send(self, courier: Courier, target: Target) -> None:
        """Sends what is left, up to the receiver's rate. Raises Refused."""
        sent = await self._findings.sent(target.name)
        rows = self._findings.state.rows
        if target.digest is not None:
            return await self._digest(courier, target, sent.get(_DIGEST))
        for action in actions(target, rows, sent, self._now())[: target.per_minute]:
            external = await courier.deliver(action)
            told = words(action.row) if action.row is not None else ""
            kept = Sent(external, action.what != CLOSE, told)
            # Forgotten here once it is closed there and no longer known.
            await self._findings.note_sent(target.name, action.key, kept if kept.open or action.key in rows else None)
        return None

    async def _digest(self, courier: Courier, target: Target, last: Sent | None) -> None:
        now = self._now()
        today = now.date().isoformat()
        assert target.digest is not None
        if now.time() < target.digest or (last is not None and last.external >= today):
            return
        for owner, rows in digest(target, self._findings.state.rows.values()).items():
            await courier.say(digest_text(owner, rows))
        await self._findings.note_sent(target.name, _DIGEST, Sent(today, False, ""))
