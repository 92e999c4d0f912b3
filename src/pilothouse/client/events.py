"""Events about objects: written in the background, repeats counted on one Event instead of making new ones."""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pilothouse.client.client import Client
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError, NotFound, ServiceUnavailable
from pilothouse.machinery.objects import Obj, timestamp

log = logging.getLogger(__name__)

QUEUE_SIZE = 10_000
"""Events waiting to be written, half a kilobyte each; Normal ones may fill nine tenths of it. Further ones are dropped,
which is logged when it begins, and how many when all others are written."""
LANES = 4
"""Events being written at once, an object's own one after another; few, so that a burst leaves the store to work."""
_REMEMBERED = 1024
_BURST = 25
"""Events an object may have at once; afterwards one more every `_REFILL_SECONDS` (client-go's spam filter)."""
_REFILL_SECONDS = 300.0
_TRIES = 4
_MESSAGE_LIMIT = 1024
"""Longest message the events API takes."""

EventType = Literal["Normal", "Warning"]


class _Subject(NamedTuple):
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    field_path: str


class _Entry(NamedTuple):
    subject: _Subject
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Written:
    name: str
    count: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class EventRecorder:
    """Records what `component` (on `host`) has to say about objects.

    `event` only queues and never fails; `run` writes until cancelled. Events that cannot be written (their namespace
    is being deleted, the server stays away) are dropped: they are for people and nothing depends on them.
    """

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._component = component
        self._host = host
        self._lanes: list[dict[_Entry, int]] = [{} for _ in range(LANES)]
        self._wakes = [asyncio.Event() for _ in self._lanes]
        self._written: collections.OrderedDict[_Entry, _Written] = collections.OrderedDict()
        self._buckets: collections.OrderedDict[_Subject, _Bucket] = collections.OrderedDict()
        self._dropped = 0

    def event(self, obj: Object, type: EventType, reason: str, message: str, *, field_path: str = "") -> None:
        """Queues an event about `obj`; `field_path` narrows it, as in `spec.containers{web}`."""
        resource, meta = obj.resource, obj.metadata
        subject = _Subject(resource.api_version, resource.kind, meta.namespace, meta.name, meta.uid, field_path)
        entry = _Entry(subject, type, reason, message[:_MESSAGE_LIMIT])
        number = hash(subject) % len(self._lanes)
        lane = self._lanes[number]
        if entry not in lane and self._is_full(type):
            if not self._dropped:
                log.warning("%s: more events than can be written; some are dropped", self._component)
            self._dropped += 1
            return
        lane[entry] = lane.get(entry, 0) + 1
        self._wakes[number].set()

    def _is_full(self, type: EventType) -> bool:
        most = QUEUE_SIZE if type == "Warning" else QUEUE_SIZE * 9 // 10
        return sum(map(len, self._lanes)) >= most

    async def run(self) -> None:
        """Writes what is queued, an object's events in order, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane, wake in zip(self._lanes, self._wakes):
                group.create_task(self._write_lane(lane, wake))

    async def _write_lane(self, lane: dict[_Entry, int], wake: asyncio.Event) -> None:
        while True:
            while not lane:
                if self._dropped and not any(self._lanes):
                    log.warning("%s: %d events were dropped, the queue was full", self._component, self._dropped)
                    self._dropped = 0
                wake.clear()
                await wake.wait()
            entry = next(iter(lane))
            times = lane.pop(entry)
            if not self._allowed(entry.subject):
                log.debug("%s: event about %s held back: too many", self._component, entry.subject.name)
                continue
            await self._write_with_patience(entry, times)

    def _allowed(self, subject: _Subject) -> bool:
        now = time.monotonic()
        bucket = self._buckets.pop(subject, None) or _Bucket(_BURST, now)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) / _REFILL_SECONDS)
        bucket.at = now
        self._buckets[subject] = bucket
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _write_with_patience(self, entry: _Entry, times: int) -> None:
        for attempt in range(_TRIES):
            try:
                await self._write(entry, times)
            except ServiceUnavailable:
                await asyncio.sleep(2.0**attempt)
            except (ApiError, OSError) as error:
                log.debug("%s: event %s not written: %s", self._component, entry.reason, error)
                return
            else:
                return

    async def _write(self, entry: _Entry, times: int) -> None:
        namespace = entry.subject.namespace or "default"
        known = self._written.pop(entry, None)
        if known is not None:
            known.count += times
            patch = {"count": known.count, "lastTimestamp": timestamp()}
            try:
                await self._client.patch(Event, known.name, namespace, patch)
            except NotFound:
                times = 1
            else:
                self._remember(entry, known)
                return
        tree = self._tree(entry, times)
        await self._client.request("POST", Event.resource.path(namespace), body=tree)
        self._remember(entry, _Written(tree["metadata"]["name"], times))

    def _remember(self, entry: _Entry, written: _Written) -> None:
        self._written[entry] = written
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _tree(self, entry: _Entry, times: int) -> Obj:
        subject, now = entry.subject, timestamp()
        namespace = subject.namespace or "default"
        involved: Obj = {"apiVersion": subject.api_version, "kind": subject.kind, "name": subject.name}
        for key, value in (
            ("namespace", subject.namespace),
            ("uid", subject.uid),
            ("fieldPath", subject.field_path),
        ):
            if value:
                involved[key] = value
        source = {"component": self._component}
        if self._host:
            source["host"] = self._host
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{subject.name[:220]}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": involved,
            "reason": entry.reason,
            "message": entry.message,
            "type": entry.type,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": times,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
