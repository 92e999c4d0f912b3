"""Priority and fairness on a running server: who floods waits or is turned away, everybody else is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import orjson
import pytest

from pilothouse.apiserver.bootstrap.flow_control import (
    mandatory_levels,
    mandatory_schemas,
    suggested_levels,
    suggested_schemas,
)
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.apiserver.flow_control.control import FlowControl
from pilothouse.client.wire import Request, Response, User
from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.flowcontrol.priority_level_configuration import PriorityLevelConfiguration
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import AllowAll, ControlPlane, allow_all

ANN, BOB = (User(name, ("system:authenticated",)) for name in ("ann", "bob"))
MAPS = "/api/v1/namespaces/ns/configmaps"


class Gate(AllowAll):
    """Admission in which creates wait until they are let through."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reached: list[str] = []

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.user.name != "admin":
            self.reached.append(request.user.name)
            await self.open.wait()

    async def validate(self, request: AdmissionRequest) -> None:
        return None


class Served:
    """A server with the shipped objects of flow control, and few seats."""

    def __init__(self, plane: ControlPlane, gate: Gate) -> None:
        self.plane = plane
        self.gate = gate

    async def ask(self, user: User, method: str, path: str, body: bytes = b"", **query: str) -> Response:
        return await self.plane.transport(user).send(
            Request(method, path, list(query.items()), {"content-type": "application/json"}, body)
        )

    def create(self, user: User, name: str, size: int = 0) -> asyncio.Task[Response]:
        body = orjson.dumps({"metadata": {"name": name}, "data": {"k": "x" * size}})
        return asyncio.create_task(self.ask(user, "POST", MAPS, body))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0)

    def metric(self, name: str) -> int:
        text = self.plane.api.measures.text().decode()
        lines = [line for line in text.splitlines() if line.startswith(f"apiserver_flowcontrol_{name}")]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


@asynccontextmanager
async def served(*, seats: int = 60, wait_seconds: float = 60.0) -> AsyncIterator[Served]:
    store, gate = MemoryStore(), Gate()
    flow = FlowControl(store, seats=seats, wait_seconds=wait_seconds)
    async with ControlPlane(store=store, chain=replace(allow_all(), admission=gate), flow=flow) as plane:
        client = plane.client()
        found: list[tuple[Resource, Obj]] = [
            *((PriorityLevelConfiguration.resource, tree) for tree in (*mandatory_levels(), *suggested_levels())),
            *((FlowSchema.resource, tree) for tree in (*mandatory_schemas(), *suggested_schemas())),
        ]
        for resource, tree in found:
            await client.create_tree(resource, tree)
        yield Served(plane, gate)
        gate.open.set()


async def test_a_flood_of_reads_does_not_keep_others_waiting() -> None:
    async with served(seats=20) as server:
        done: list[str] = []

        async def read(user: User) -> None:
            assert (await server.ask(user, "GET", MAPS)).status == 200
            done.append(user.name)

        flood = [asyncio.create_task(read(ANN)) for _ in range(250)]
        await server.until(lambda: server.metric("current_inqueue_requests") > 0)
        await asyncio.create_task(read(BOB))
        # Three turns of the loop: the one that was full, the one in which it came, and its own.
        assert done.index("bob") <= 3 * 20
        await asyncio.gather(*flood)
        assert len(done) == 251


async def test_writes_of_one_do_not_take_the_seats_of_others() -> None:
    async with served() as server:
        flood = [server.create(ANN, f"a{n}") for n in range(200)]
        await server.until(lambda: server.metric("current_inqueue_requests") > 100)
        running = len(server.gate.reached)
        # Another level has seats that nobody else may take.
        node = User("system:node:n1", ("system:nodes", "system:authenticated"))
        assert (await server.ask(node, "GET", "/api/v1/nodes")).status == 200
        mine = server.create(BOB, "b")
        await server.until(lambda: server.metric("current_inqueue_requests") == 200 - running + 1)
        flood[0].cancel()
        server.gate.open.set()
        assert (await mine).status == 201
        assert server.gate.reached.index("bob") <= running + 6
        await asyncio.gather(*flood, return_exceptions=True)
        assert server.metric("current_executing_seats") == 0


async def test_what_finds_no_room_is_turned_away_with_a_time_to_come_back() -> None:
    async with served() as server:
        level = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/global-default"
        queuing = {"queues": 1, "handSize": 1, "queueLengthLimit": 2}
        limited = {"nominalConcurrencyShares": 1, "borrowingLimitPercent": 0, "limitResponse": {"queuing": queuing}}
        await server.plane.client().request(
            "PATCH", level, body={"spec": {"limited": limited}}, content_type="application/merge-patch+json"
        )
        tasks = [server.create(ANN, f"a{n}") for n in range(4)]
        await server.until(lambda: any(task.done() for task in tasks))
        (refused,) = [task.result() for task in tasks if task.done()]
        assert refused.status == 429
        assert refused.headers["retry-after"] == "1"
        assert orjson.loads(refused.body)["reason"] == "TooManyRequests"
        uid = orjson.loads((await server.ask(User("admin", ("system:masters",)), "GET", level)).body)["metadata"]["uid"]
        assert refused.headers["x-kubernetes-pf-prioritylevel-uid"] == uid
        assert server.metric("rejected_requests_total") == 1
        server.gate.open.set()
        assert sorted([(await task).status for task in tasks]) == [201, 201, 201, 429]


async def test_one_that_waits_too_long_is_turned_away_and_one_that_goes_leaves_no_trace() -> None:
    async with served(seats=8, wait_seconds=0.05) as server:
        tasks = [server.create(ANN, f"a{n}") for n in range(30)]
        await server.until(lambda: any(task.done() for task in tasks))
        async with asyncio.timeout(10):
            while len(server.gate.reached) + sum(task.done() for task in tasks) < 30:
                await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status for task in tasks if task.done()} == {429}
        assert server.metric("current_inqueue_requests") == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.until(lambda: server.metric("current_executing_seats") == 0)


async def test_bodies_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilothouse.apiserver.flow_control.control.WAITING_BYTES", 100_000)
    async with served(seats=8) as server:
        tasks = [server.create(ANN, f"a{n}", 30_000) for n in range(30)]
        await server.until(lambda: len(server.gate.reached) + sum(task.done() for task in tasks) >= 27)
        assert server.metric("current_inqueue_requests") <= 3
        server.gate.open.set()
        assert {(await task).status for task in tasks} == {201, 429}


async def test_watches_give_their_seats_back_and_the_exempt_are_never_held_up() -> None:
    async with served(seats=8) as server:
        watches = [await server.ask(ANN, "GET", MAPS, watch="true") for _ in range(100)]
        assert all(watch.stream is not None for watch in watches)
        await server.until(lambda: server.metric("current_executing_seats") == 0)
        flood = [server.create(ANN, f"a{n}") for n in range(100)]
        await server.until(lambda: server.metric("current_inqueue_requests") > 0)
        masters = User("root", ("system:masters",))
        answers = await asyncio.gather(*(server.ask(masters, "GET", MAPS) for _ in range(100)))
        assert {answer.status for answer in answers} == {200}
        server.gate.open.set()
        await asyncio.gather(*flood)
        for watch in watches:
            await watch.stream.aclose()  # type: ignore[union-attr]


async def test_a_component_that_is_turned_away_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            waited.append(seconds)
            server.gate.open.set()
        await sleep(0)

    async with served(seats=1, wait_seconds=0.01) as server:
        monkeypatch.setattr("pilothouse.client.client.asyncio.sleep", noted)
        tasks = [server.create(ANN, f"a{n}") for n in range(20)]
        await server.until(lambda: server.metric("rejected_requests_total") > 0)
        body = {"metadata": {"name": "b"}}
        await server.plane.client(ANN).request("POST", MAPS, body=body)
        assert waited == [1.0]
        await asyncio.gather(*tasks)
