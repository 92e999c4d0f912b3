"""Sends findings on, receiver by receiver: what is left to send, at a bounded rate, until it is taken."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from pilothouse.guard.findings.files import SOURCE, report_on, report_on_receiver
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.sending.decide import CLOSE, CREATE, Action, about, actions, digest, digest_text, words
from pilothouse.guard.findings.sending.deliver import Courier
from pilothouse.guard.findings.sending.settings import BadTarget, Target, parse_targets
from pilothouse.guard.findings.sending.wire import Refused, Rejected
from pilothouse.guard.findings.sent import Sent
from pilothouse.machinery.errors import ServiceUnavailable

log = logging.getLogger(__name__)
_ROUND_SECONDS = 60.0
_LONGEST_SECONDS = 900.0
_REJECTED_SECONDS = 3600.0
_DIGEST = "digest "


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
        self._problems: dict[str, str] = {}
        self._rejected: dict[str, dict[str, tuple[str, float]]] = {}
        """What receivers do not take, by key: the words as they were then, and until when they are not asked again."""
        self._rejections: dict[str, str] = {}

    async def run(self) -> None:
        """Runs until cancelled."""
        async with aiohttp.ClientSession() as session:
            while True:
                await self.look(session)
                await asyncio.sleep(self._seconds)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """One round: sends to every receiver the file names; a mistaken file and receivers that take nothing are
        findings."""
        targets, problem = self.targets()
        told = await asyncio.gather(*(self._round(session, target) for target in targets))
        reports = [report_on("forward", problem)]
        reports += [report_on_receiver(about(target), said) for target, said in zip(targets, told)]
        try:
            await self._findings.report(reports)
            if not problem:
                await self._findings.retain(SOURCE, {"owners", *(report.subject for report in reports)})
        except ServiceUnavailable as error:
            log.warning("%s", error)

    def targets(self) -> tuple[list[Target], str]:
        """The receivers there are, and what is wrong with the file: nothing is sent until it is mended."""
        problem = ""
        targets: list[Target] = []
        try:
            targets = parse_targets(self._file.read_text(), str(self._file))
        except FileNotFoundError:
            pass
        except (BadTarget, OSError, UnicodeDecodeError) as error:
            problem = str(error)
            if problem != self._told:
                log.error("findings are not sent on: %s", error)
        self._told = problem
        return targets, problem

    async def _round(self, session: aiohttp.ClientSession, target: Target) -> str:
        """As much as a receiver is sent in a minute; one that failed is left alone for longer each time, or as long as
        it asked. What is wrong with it, "" when nothing is."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._after.get(target.name, 0.0):
            return self._problems.get(target.name, "")
        try:
            problem = await self.send(Courier(session, target), target)
            self._failures.pop(target.name, None)
        except (Refused, OSError, LookupError, TypeError, ValueError, sqlite3.Error) as error:
            # Trackers answer with what they like: what cannot be read is a refusal too.
            failures = self._failures[target.name] = self._failures.get(target.name, 0) + 1
            wait = min(self._seconds * 2 ** min(failures, 8), _LONGEST_SECONDS)
            if isinstance(error, Refused):
                wait = max(wait, error.wait)
            self._after[target.name] = loop.time() + wait
            log.warning("%s is not told of findings, again in %.0f s: %s", target.name, wait, error)
            problem = f"{target.name} is not told of findings: {error}"
        self._problems[target.name] = problem
        return problem

    async def send(self, courier: Courier, target: Target) -> str:
        """Sends what is left, up to the receiver's rate; what it does not take is left out for an hour, or until
        its words change.
        What there is to say of that. Raises Refused."""
        sent = await self._findings.sent(target.name)
        if target.digest is not None:
            await self._digest(courier, target, sent)
            return ""
        rows = self._findings.state.rows
        left = await asyncio.to_thread(actions, target, dict(rows), sent, self._now())
        rejected = self._rejected.setdefault(target.name, {})
        now = asyncio.get_running_loop().time()
        left = [action for action in left if not _is_rejected(rejected.get(action.key), action, now)]
        for action in left[: target.per_minute]:
            try:
                await self._tell(courier, target, action)
                rejected.pop(action.key, None)
            except Rejected as error:
                log.warning("%s does not take %s: %s", target.name, action.key, error)
                if error.gone and action.sent is not None and action.sent.external:
                    # Somebody took it away there: it is told anew while it is open.
                    await self._findings.note_sent(target.name, action.key, None)
                else:
                    rejected[action.key] = _words(action), now + _REJECTED_SECONDS
                    self._rejections[target.name] = str(error)
        for key in rejected.keys() - rows.keys() - sent.keys():
            del rejected[key]
        if not rejected:
            return ""
        return f"{target.name} does not take some findings ({len(rejected)}): {self._rejections[target.name]}"

    async def _tell(self, courier: Courier, target: Target, action: Action) -> None:
        """Tells of one finding. That it is about to be told is kept first: whoever is killed in between looks for it
        there before it is told again."""
        note, words_now = self._findings.note_sent, _words(action)
        new = action.what == CREATE and action.sent is None
        if new:
            await note(target.name, action.key, Sent("", True, words_now))
        try:
            external = await courier.deliver(action)
        except Refused as error:
            if new and not error.unsure:
                await note(target.name, action.key, None)
            raise
        kept = Sent(external, action.what != CLOSE, words_now)
        # Forgotten here once it is closed there and no longer known, or was never told.
        known = bool(external) and (kept.open or action.key in self._findings.state.rows)
        await note(target.name, action.key, kept if known else None)

    async def _digest(self, courier: Courier, target: Target, sent: Mapping[str, Sent]) -> None:
        """One message an owner, each kept when it is out: what fails goes on where it stopped."""
        now = self._now()
        today = now.date().isoformat()
        assert target.digest is not None
        if now.time() < target.digest:
            return
        rows = self._findings.state.select()
        for owner, theirs in (await asyncio.to_thread(digest, target, rows)).items():
            last = sent.get(_DIGEST + owner)
            if last is None or last.external < today:
                await courier.say(digest_text(owner, theirs))
                await self._findings.note_sent(target.name, _DIGEST + owner, Sent(today, False, ""))


def _is_rejected(rejected: tuple[str, float] | None, action: Action, now: float) -> bool:
    return rejected is not None and rejected[0] == _words(action) and now < rejected[1]


def _words(action: Action) -> str:
    return words(action.row) if action.row is not None else ""
