"""The event recorder: what it writes, what it aggregates, and that its caller never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest

from pilothouse.client import events
from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.wire import HandlerTransport, Request, Response, User
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import ObjectMeta


class Api:
    """Records requests; `answer` may refuse them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.changed = asyncio.Event()
        self.status = 200

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        self.changed.set()
        return Response(self.status, {}, request.body)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


def pod(name: str = "web-1") -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="shop", uid="u1"))


async def test_repeats_are_counted_on_one_event() -> None:
    api = Api()
    recorder = EventRecorder(Client(HandlerTransport(api.handle, User("x"))), "tester", "host-1")
    task = asyncio.create_task(recorder.run())
    recorder.event(pod(), "Warning", "BackOff", "again", field_path="spec.containers{c}")
    await api.until(lambda: len(api.requests) == 1)
    recorder.event(pod(), "Warning", "BackOff", "again", field_path="spec.containers{c}")
    await api.until(lambda: len(api.requests) == 2)
    task.cancel()
    first, second = api.requests
    tree = orjson.loads(first.body)
    assert (first.method, first.path) == ("POST", "/api/v1/namespaces/shop/events")
    assert tree["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web-1",
        "namespace": "shop",
        "uid": "u1",
        "fieldPath": "spec.containers{c}",
    }
    assert tree["source"] == {"component": "tester", "host": "host-1"}
    assert second.method == "PATCH"
    assert second.path.endswith("/events/" + tree["metadata"]["name"])
    assert orjson.loads(second.body)["count"] == 2


async def test_what_waits_together_is_written_once() -> None:
    api = Api()
    recorder = EventRecorder(Client(HandlerTransport(api.handle, User("x"))), "tester")
    for _ in range(3):
        recorder.event(pod(), "Normal", "Same", "same")
    recorder.event(pod(), "Normal", "Last", "last")
    task = asyncio.create_task(recorder.run())
    await api.until(lambda: len(api.requests) == 2)
    task.cancel()
    assert orjson.loads(api.requests[0].body)["count"] == 3


async def test_an_object_may_not_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LANES", 1)
    api = Api()
    recorder = EventRecorder(Client(HandlerTransport(api.handle, User("x"))), "tester")
    for number in range(100):
        recorder.event(pod(), "Normal", "Many", f"number {number}")
    recorder.event(pod("web-2"), "Normal", "Other", "other")
    task = asyncio.create_task(recorder.run())
    await api.until(lambda: bool(api.requests) and b"web-2" in api.requests[-1].body)
    task.cancel()
    assert len(api.requests) == 26


async def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_SIZE", 10)
    api = Api()
    recorder = EventRecorder(Client(HandlerTransport(api.handle, User("x"))), "tester")
    for number in range(15):
        recorder.event(pod(f"p{number}"), "Normal", "R", "m")
    for number in range(15, 20):
        recorder.event(pod(f"p{number}"), "Warning", "R", "m")
    task = asyncio.create_task(recorder.run())
    await api.until(lambda: len(api.requests) == 10)
    recorder.event(pod("last"), "Normal", "R", "m")
    await api.until(lambda: any(about(request) == "last" for request in api.requests))
    task.cancel()
    assert {about(request) for request in api.requests} == {*(f"p{number}" for number in range(9)), "p15", "last"}


def about(request: Request) -> str:
    name: str = orjson.loads(request.body)["involvedObject"]["name"]
    return name


async def test_an_object_s_events_are_written_in_order_beside_those_of_others() -> None:
    api = Api()
    held = asyncio.Event()
    first = pod("p0")

    async def handle(request: Request) -> Response:
        if about(request) == "p0" and not held.is_set():
            await held.wait()
        return await api.handle(request)

    recorder = EventRecorder(Client(HandlerTransport(handle, User("x"))), "tester")
    for reason in ("A", "B", "C"):
        recorder.event(first, "Normal", reason, "m")
    for number in range(1, 40):
        recorder.event(pod(f"p{number}"), "Normal", "R", "m")
    task = asyncio.create_task(recorder.run())
    await api.until(lambda: bool(api.requests))
    held.set()
    await api.until(lambda: len(api.requests) == 42)
    task.cancel()
    own = [orjson.loads(request.body)["reason"] for request in api.requests if about(request) == "p0"]
    assert own == ["A", "B", "C"]


async def test_a_refused_event_is_dropped_and_the_next_written() -> None:
    api = Api()
    api.status = 403
    recorder = EventRecorder(Client(HandlerTransport(api.handle, User("x"))), "tester")
    recorder.event(pod(), "Normal", "A", "a")
    recorder.event(pod(), "Normal", "B", "b")
    task = asyncio.create_task(recorder.run())
    await api.until(lambda: len(api.requests) == 2)
    task.cancel()
