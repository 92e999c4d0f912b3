"""The one writer of findings: reports in, the difference made durable, then shown to readers."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.database import Batch, Change, FindingDatabase
from pilothouse.guard.findings.diff import changes, reconsidered
from pilothouse.guard.findings.model import NO_BASIS, PREFIX, Basis, Found, Report, Row, Unknown, World
from pilothouse.guard.findings.sent import Sent
from pilothouse.guard.findings.state import FindingState
from pilothouse.guard.findings.trend import NOTHING, Point
from pilothouse.kinds.guard.finding import OPEN, RESOLVED
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.machinery.objects import timestamp

log = logging.getLogger(__name__)

LIMIT = 100_000
KEPT_RESOLVED = dt.timedelta(days=7)
_SEEN_ANEW = dt.timedelta(hours=1)
_BRIEF = dt.timedelta(seconds=60)
"""What is gone sooner, such as a Service applied before its Deployment, leaves nothing behind."""
_SWEEP_SECONDS = 600.0
_SLICE = 250
"""Findings taken, or looked at again, before other work gets its turn."""
OVERFLOW = Check(
    "findings-left-out",
    "More findings than are kept",
    Severity.HIGH,
    "hygiene",
    "What is not kept is not seen by anybody.",
    "# mend what is worst, or accept by exemption and take the rule out of use",
)
_OWN_SOURCE = "findings"
_OVERFLOW_SUBJECT = Ref("v1", "Namespace", "", "kube-system")


class Findings:
    """Findings of every source. `world` may be replaced once something knows owners and exemptions.

    Everything is read from memory (`state`); writes wait for the database, which a thread works on. At most `limit`
    findings are kept: beyond it the least severe new ones are left out, which is a finding itself.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        limit: int = LIMIT,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._database = FindingDatabase(path)
        self._limit = limit
        self._now = now
        self._lock = asyncio.Lock()
        self.world: World = Unknown()
        self.state = FindingState()
        rows, self._bases, revision = self._database.load()
        self.state.start(rows, revision)
        self._subjects: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            self._subjects.setdefault((row.source, row.subject), set()).add(row.key)
        self.left_out = 0

    async def report(self, reports: Iterable[Report]) -> None:
        """Takes what sources found: returns once it is durable and readers see it. Raises ServiceUnavailable."""
        async with self._lock:
            for some in _sliced(reports):
                await self._take(some)
                await asyncio.sleep(0)  # what changes nothing waits for nothing

    async def retain(self, source: str, subjects: Collection[str]) -> None:
        """Resolves what a source reported of subjects that are not among these."""
        async with self._lock:
            known = {subject for kept, subject in (*self._subjects, *self._bases) if kept == source}
            gone = [Report(source, subject, ()) for subject in sorted(known - set(subjects))]
            for some in _sliced(gone):
                await self._take(some)
                await asyncio.sleep(0)

    def basis(self, source: str, subject: str) -> Basis | None:
        """What the last report on a subject rested on, None when there was none."""
        return self._bases.get((source, subject))

    def of_source(self, source: str) -> list[Row]:
        """What a source reported, resolved or not."""
        rows = self.state.rows
        return [rows[key] for (kept, _), keys in self._subjects.items() if kept == source for key in sorted(keys)]

    async def reconsider(self, namespace: str | None = None) -> None:
        """Asks for owners and exemptions again, of the findings of a namespace or of all."""
        async with self._lock:
            rows = self.state.select(f"{PREFIX}{namespace}/" if namespace else PREFIX)
            for start in range(0, len(rows), _SLICE):
                await self._apply(list(reconsidered(rows[start : start + _SLICE], self.world)))
                await asyncio.sleep(0)

    async def sweep(self) -> None:
        """Forgets what was resolved long ago, and notes today's counts."""
        async with self._lock:
            before = timestamp(self._now() - KEPT_RESOLVED)
            old = await asyncio.to_thread(_resolved, self.state.select(), before)
            for start in range(0, len(old), _SLICE):
                await self._apply((), old[start : start + _SLICE])
            await self._take([self._overflow()])
            await asyncio.to_thread(self._database.tally, await self._counts())

    async def trend(self) -> list[Point]:
        """Open findings by day, namespace, owner and severity; today's as they are now."""
        async with self._lock:
            points = await asyncio.to_thread(self._database.trend)
            now = await self._counts()
        today = timestamp(self._now())[:10]
        return [*(point for point in points if point.day != today), *now]

    async def _counts(self) -> list[Point]:
        return await asyncio.to_thread(open_now, self.state.select(), timestamp(self._now())[:10])

    async def history(self, limit: int = 1000) -> list[Change]:
        """The latest changes, newest first."""
        async with self._lock:
            return await asyncio.to_thread(self._database.history, limit)

    async def sent(self, target: str) -> dict[str, Sent]:
        """What a receiver was told of, by key."""
        async with self._lock:
            found = await asyncio.to_thread(self._database.sent, target)
        return {key: Sent(*told) for key, told in found.items()}

    async def note_sent(self, target: str, key: str, told: Sent | None) -> None:
        """Keeps what a receiver was told, or forgets it."""
        async with self._lock:
            await _finished(asyncio.to_thread(self._database.note_sent, target, key, told))

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            try:
                await self.sweep()
            except (sqlite3.Error, ServiceUnavailable) as error:
                log.warning("findings could not be swept: %s", error)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def close(self) -> None:
        """Waits for what is being written and ends all watches."""
        async with self._lock:
            await self.state.close()
            await asyncio.to_thread(self._database.close)

    def size(self) -> int:
        """Bytes of the database."""
        return self._database.size()

    async def _take(self, reports: Sequence[Report]) -> None:
        now = self._now()
        stale = timestamp(now - _SEEN_ANEW)
        changed: list[Row] = []
        fresh: list[tuple[str, str, Basis]] = []
        forgotten: list[tuple[str, str]] = []
        # One subject may be reported several times at once: the last word counts.
        for report in {(report.source, report.subject): report for report in reports}.values():
            place = (report.source, report.subject)
            known = self._bases.get(place)
            kept = {key: self.state.rows[key] for key in self._subjects.get(place, ())}
            changed += changes(kept, report, known, self.world, timestamp(now), stale)
            if not report.found and report.basis == NO_BASIS:
                forgotten += [place] if known is not None else []
            elif known != report.basis:
                fresh.append((*place, report.basis))
        brief = timestamp(now - _BRIEF)
        passing = [row for row in changed if row.state == RESOLVED and row.first_seen > brief]
        lasting = [row for row in changed if row.state != RESOLVED or row.first_seen <= brief]
        await self._apply(self._bounded(lasting), passing, bases=fresh, forgotten=forgotten)

    def _overflow(self) -> Report:
        """A finding about findings that were left out since the process began."""
        said = f"{self.left_out} findings were left out: {self._limit} are kept at most"
        found = Found(Finding(OVERFLOW, _OVERFLOW_SUBJECT, said))
        return Report(_OWN_SOURCE, "limit", (found,) if self.left_out else ())

    def _bounded(self, rows: list[Row]) -> list[Row]:
        """Without the least severe new ones that there is no room for."""
        new = [row for row in rows if row.key not in self.state.rows and row.source != _OWN_SOURCE]
        beyond = len(self.state.rows) + len(new) - self._limit
        if beyond <= 0:
            return rows
        new.sort(key=lambda row: row.check.severity)
        dropped = {row.key for row in new[:beyond]}
        self.left_out += len(dropped)
        log.warning("%d findings are left out: %d are kept at most", len(dropped), self._limit)
        return [row for row in rows if row.key not in dropped]

    async def _apply(
        self,
        rows: Sequence[Row],
        removed: Sequence[Row] = (),
        *,
        bases: Sequence[tuple[str, str, Basis]] = (),
        forgotten: Sequence[tuple[str, str]] = (),
    ) -> None:
        if not (rows or removed or bases or forgotten):
            return
        revisions = count(self.state.revision + 1)
        put = [replace(row, revision=next(revisions)) for row in rows]
        gone = [replace(row, revision=next(revisions)) for row in removed]
        history = [change for row in put if (change := self._noted(row)) is not None]
        batch = Batch(put, gone, bases, forgotten, history, next(revisions) - 1)
        try:
            await _finished(self._commit(batch))
        except sqlite3.Error as error:
            raise ServiceUnavailable(f"findings could not be kept: {error}; check the disk") from error

    async def _commit(self, batch: Batch) -> None:
        await asyncio.to_thread(self._database.commit, batch)
        for source, subject, basis in batch.bases:
            self._bases[source, subject] = basis
        for place in batch.forgotten:
            self._bases.pop(place, None)
        for row in batch.put:
            self._subjects.setdefault((row.source, row.subject), set()).add(row.key)
        for row in batch.removed:
            place = (row.source, row.subject)
            self._subjects[place].discard(row.key)
            if not self._subjects[place]:
                del self._subjects[place]
        self.state.put(batch.put)
        self.state.remove(batch.removed)

    def _noted(self, row: Row) -> Change | None:
        """The history's entry: a finding that appears, or changes its state."""
        old = self.state.rows.get(row.key)
        if old is not None and old.state == row.state:
            return None
        now = timestamp(self._now())
        return Change(now, row.key, row.check.id, str(row.check.severity), row.owner, row.state, row.because)


def open_now(rows: Iterable[Row], day: str) -> list[Point]:
    """How many of these findings are open, by namespace, owner and severity."""
    counted = Counter((row.namespace, row.owner, row.check.severity) for row in rows if row.state == OPEN)
    found = [Point(day, namespace, owner, str(severity), n) for (namespace, owner, severity), n in counted.items()]
    return found or [Point(day, *NOTHING)]


def _resolved(rows: Sequence[Row], before: str) -> list[Row]:
    return [row for row in rows if row.state == RESOLVED and row.resolved_at < before]


def _sliced(reports: Iterable[Report]) -> Iterator[list[Report]]:
    """Reports by as many as are taken in one go."""
    some: list[Report] = []
    size = 0
    for report in reports:
        some.append(report)
        size += 1 + len(report.found)
        if size >= _SLICE:
            yield some
            some, size = [], 0
    if some:
        yield some


async def _finished(work: Coroutine[None, None, None]) -> None:
    """Carries work to its end, also when the caller is cancelled meanwhile: what the database has must be shown."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
