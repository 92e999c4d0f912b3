"""The audit log: notes go into a bounded queue, a thread of its own makes lines of them and writes.

No request waits for it. When notes come faster than they can be written, or the disk is full, notes are dropped,
counted in `/metrics` and told of in the engine's log: an API that stops because its disk is full would be worse.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pilothouse.apiserver.audit.event import Note, line
from pilothouse.apiserver.audit.policy import COMPLETE, NOTHING, RECEIVED, Level, Policy, Verdict
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request, Response, User

FILE_BYTES: Final = 32 << 20
FILES: Final = 8
"""The file that is written to, and those before it: a quarter of a GiB in all."""
PENDING: Final = 20_000
PENDING_BYTES: Final = 32 << 20
_BATCH: Final = 200
_GATHER_SECONDS: Final = 0.2
_TELL_SECONDS: Final = 60.0
_HEAD: Final = 4096
"""Bytes of what was created that are kept for its name; metadata comes first in what the store keeps."""
log = logging.getLogger(__name__)


_PROCESS: Final = str(uuid.uuid4())[:23]
_NUMBERS: Final = itertools.count()
_LONGEST_ID: Final = 64


def new_id() -> str:
    """An identifier of the form of a UUID, new for each request of each process."""
    return f"{_PROCESS}-{next(_NUMBERS):012x}"


class Trail:
    """What of a request is known only while it is answered."""

    __slots__ = ("allowed", "annotations", "headers", "id", "panicked", "received", "user", "verdict")

    def __init__(self, id: str = "") -> None:
        self.id = id[:_LONGEST_ID] or new_id()
        """The same in all records of a request and in its answer; a client may bring one along."""
        self.user: User | None = None
        self.allowed: bool | None = None
        self.annotations: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        """What the answer is to say of the request's place in flow control."""
        self.received = time.time()
        self.verdict: Verdict | None = None
        self.panicked = False


class AuditLog:
    """`received` and `note` take note of a request's stages, from the event loop. The file is made for its owner
    only."""

    def __init__(self, file: Path, policy: Policy, *, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        self._file = file
        self._policy = policy
        self._limits = (file_bytes, files)
        self._pending: deque[tuple[int, Note]] = deque()
        """With the bytes that each takes."""
        self._bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._end = threading.Event()
        self.written = 0
        self.dropped = 0
        self._told = 0.0
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def received(self, request: Request, route: Route, trail: Trail) -> None:
        """Records that a request came, if the policy wants that."""
        verdict = self._verdict(request, route, trail)
        if verdict.level is not Level.NONE and RECEIVED not in verdict.omitted:
            self._put(self._note(request, route, trail, RECEIVED, None, verdict))

    def note(self, request: Request, route: Route, trail: Trail, response: Response, stage: str) -> None:
        """Records a stage of an answered request, if the policy wants it."""
        verdict = self._verdict(request, route, trail)
        if verdict.level is not Level.NONE and stage not in verdict.omitted:
            self._put(self._note(request, route, trail, stage, response, verdict))

    def wants(self, trail: Trail, stage: str) -> bool:
        """Whether a stage that is still to come is to be recorded, of a request that has been noted."""
        verdict = trail.verdict or NOTHING
        return verdict.level is not Level.NONE and stage not in verdict.omitted

    def _verdict(self, request: Request, route: Route, trail: Trail) -> Verdict:
        """By who asked, not by whom they impersonate: nobody hides behind a part of the engine."""
        if trail.verdict is None:
            user = request.asker or trail.user or request.user
            trail.verdict = self._policy.verdict(user or _NOBODY, route)
        return trail.verdict

    def _note(
        self, request: Request, route: Route, trail: Trail, stage: str, response: Response | None, verdict: Verdict
    ) -> Note:
        user = request.asker or trail.user or request.user
        impersonated = (
            trail.user if trail.user is not None and user is not None and trail.user.name != user.name else None
        )
        return Note(
            trail.id,
            verdict.level,
            stage,
            route,
            _uri(request),
            user,
            impersonated,
            request.remote,
            request.headers.get("user-agent", ""),
            0 if response is None else response.status,
            trail.allowed,
            trail.received,
            time.time(),
            request.body if verdict.level >= Level.REQUEST else b"",
            request.headers.get("content-type", ""),
            b"" if response is None else _kept(response, route, verdict),
            response is not None and response.stream is not None and stage == COMPLETE,
            verdict.omit_managed_fields,
            trail.annotations,
        )

    def _put(self, note: Note) -> None:
        size = note.size
        with self._lock:
            if len(self._pending) >= PENDING or self._bytes + size > PENDING_BYTES:
                self.dropped += 1
                return
            self._pending.append((size, note))
            self._bytes += size
        if not self._wake.is_set():
            self._wake.set()

    def lines(self) -> Iterator[str]:
        """For `/metrics`."""
        yield "# HELP pilothouse_audit_events_total Requests recorded in the audit log, and those that could not be."
        yield "# TYPE pilothouse_audit_events_total counter"
        yield f'pilothouse_audit_events_total{{outcome="written"}} {self.written}'
        yield f'pilothouse_audit_events_total{{outcome="dropped"}} {self.dropped}'

    def close(self) -> None:
        """Writes what is pending. Waits for the thread."""
        self._end.set()
        self._wake.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            # What comes meanwhile is written with it: waking for each note would take the interpreter from the loop.
            self._end.wait(_GATHER_SECONDS)
            self._wake.clear()
            while batch := self._take():
                self._write(batch)
            self._tell()
            if self._end.is_set() and not self._pending:
                return

    def _take(self) -> list[Note]:
        with self._lock:
            batch = [self._pending.popleft() for _ in range(min(len(self._pending), _BATCH))]
            self._bytes -= sum(size for size, _ in batch)
        return [note for _, note in batch]

    def _write(self, batch: list[Note]) -> None:
        lines = []
        for note in batch:
            try:
                lines.append(line(note))
            except Exception:
                log.exception("a request could not be recorded in the audit log")
                self.dropped += 1
        data = b"".join(lines)
        try:
            self._rotate(len(data))
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(data)
            self.written += len(lines)
        except OSError as error:
            self.dropped += len(lines)
            self._tell(f": {error}")

    def _rotate(self, more: int) -> None:
        """Makes room: `audit.log` becomes `audit.log.1`, and so on; the oldest goes."""
        largest, files = self._limits
        try:
            if self._file.stat().st_size + more <= largest:
                return
        except FileNotFoundError:
            return
        for number in range(files - 1, 0, -1):
            older = self._file if number == 1 else self._file.with_name(f"{self._file.name}.{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, self._file.with_name(f"{self._file.name}.{number}"))

    def _tell(self, why: str = "") -> None:
        now = time.monotonic()
        if self.dropped and now - self._told > _TELL_SECONDS:
            self._told = now
            log.error("the audit log could not record %d requests since the start%s", self.dropped, why)


_NOBODY: Final = User("")


def _uri(request: Request) -> str:
    if not request.query:
        return request.path
    from urllib.parse import urlencode

    return f"{request.path}?{urlencode(request.query)}"


def _kept(response: Response, route: Route, verdict: Verdict) -> bytes:
    if response.status >= 400 or verdict.level >= Level.REQUEST_RESPONSE:
        return response.body
    return response.body if route.verb == "create" and not route.name and len(response.body) <= _HEAD * 16 else b""
