"""`scripts/bench findings`: keeping and reading findings, one change among 10,000 objects, who may do what."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import orjson

from pilothouse.client.client import Client
from pilothouse.client.wire import HandlerTransport
from pilothouse.guard.access.rights import Grant, Rights, account
from pilothouse.guard.access.spread import Cluster, PodFacts, State
from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Basis, Found, Report
from pilothouse.guard.judge import shipped_evaluator
from pilothouse.guard.live.checks import LiveChecks
from pilothouse.guard.live.documents import trimmed
from pilothouse.guard.live.kinds import checked_kinds
from pilothouse.guard.live.world import World
from pilothouse.kinds.guard.finding import FINDINGS
from pilothouse.kinds.rbac.role import PolicyRule
from pilothouse.machinery.objects import Obj
from pilothouse.testing.bench.report import Figure
from pilothouse.testing.control_plane import ADMIN, ControlPlane

SIZES = (1_000, 100_000)
OBJECTS = 10_000
SUBJECTS = 1_000
_A_SUBJECT = 10
_TICK = 0.001
_STEPS = 100
"""More than the checks are compiled in."""
_FEW = {"labelSelector": "pilothouse.io/rule in (rule-7)", "fieldSelector": "spec.subject.namespace=team-7"}
_CRITICAL = {"fieldSelector": "spec.severity=critical,status.state=open"}
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def findings_figures() -> list[Figure]:
    """Each part in a process of its own, so that memory is its own; needs no root and leaves nothing behind."""
    figures: list[Figure] = []
    for part in (*(f"kept {size}" for size in SIZES), "live", "access"):
        command = [sys.executable, "-m", __name__, *part.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures += [Figure(*entry) for entry in json.loads(done.stdout)]
    return figures


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _timed(work: Callable[[], Awaitable[object]], turns: int = 1) -> float:
    best = float("inf")
    for _ in range(turns):
        started = time.perf_counter()
        await work()
        best = min(best, time.perf_counter() - started)
    return best


class _Holds:
    """While it is entered: the most CPU time of its thread between two turns of a task that only ticks, in
    milliseconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._slept = time.thread_time()

    async def __aenter__(self) -> _Holds:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        self._look()

    async def _tick(self) -> None:
        while True:
            self._slept = time.thread_time()
            await asyncio.sleep(_TICK)
            self._look()

    def _look(self) -> None:
        self.longest = max(self.longest, (time.thread_time() - self._slept) * 1e3)


def _reports(size: int) -> list[Report]:
    checks = [
        Check(f"rule-{n}", f"Rule {n}", Severity(1 + n % 4), "security", "It matters much. " * 5, "spec: {}\n" * 8)
        for n in range(200)
    ]
    reports = []
    for number in range(size // _A_SUBJECT):
        ref = Ref("apps/v1", "Deployment", f"team-{number % 200}", f"app-{number}")
        found = tuple(
            Found(Finding(checks[(number * 7 + n) % 200], ref, f"is wrong in way {n}", "web", f"spec.x[{n}]"))
            for n in range(_A_SUBJECT)
        )
        reports.append(Report("bench", str(ref), found, Basis(str(number))))
    return reports


async def _kept(size: int) -> list[tuple[object, ...]]:
    name = f"{size} findings"
    with tempfile.TemporaryDirectory(prefix="ph-bench-findings-") as folder:
        path = Path(folder, "findings.db")
        reports = _reports(size)
        gc.collect()
        gc.freeze()  # what sources hand in is theirs, and gone soon
        before = _resident()
        findings = Findings(path, limit=2 * size)
        async with _Holds() as taking:
            ingest = await _timed(lambda: findings.report(reports))
            again = await _timed(lambda: findings.report(reports))
        grown = _resident() - before
        async with ControlPlane(beside={FINDINGS: findings.state}) as plane, _Holds() as reading:
            client = Client(HandlerTransport(plane.api.handle, ADMIN))
            page = await _timed(lambda: _get(client, FINDINGS.path(), limit="500"), 5)
            space = await _timed(lambda: _get(client, FINDINGS.path("team-7")), 5)
            few = await _timed(lambda: _get(client, FINDINGS.path(), **_FEW), 5)
            critical = await _timed(lambda: _get(client, FINDINGS.path(), limit="500", **_CRITICAL), 5)
            every = await _timed(lambda: _get(client, FINDINGS.path(), **_CRITICAL))
        subjects = count()
        one = await _timed(
            lambda: findings.report([Report("bench", f"one {next(subjects)}", reports[0].found, Basis("1"))]), 5
        )
        kept = findings.size() / 1e6
        await findings.close()
        started = time.perf_counter()
        await Findings(path).close()
        opened = time.perf_counter() - started
    return [
        (f"{name}: ingest", ingest, "s", None, False, f"{size / ingest:.0f} a second"),
        (f"{name}: the same reported again", again, "s"),
        (f"{name}: one subject's 10 reported", one * 1e3, "ms"),
        (f"{name}: a page of 500 as a table", page * 1e3, "ms"),
        (f"{name}: one namespace's", space * 1e3, "ms"),
        (f"{name}: those of one rule and namespace", few * 1e3, "ms"),
        (f"{name}: a page of 500 critical ones", critical * 1e3, "ms"),
        (f"{name}: all critical ones, a quarter", every * 1e3, "ms"),
        (f"{name}: longest hold of the loop, taking them", taking.longest, "ms", 50.0),
        (f"{name}: longest hold of the loop, reading", reading.longest, "ms", 50.0),
        (f"{name}: memory", grown, "MB"),
        (f"{name}: database", kept, "MB"),
        (f"{name}: opening the database", opened, "s"),
    ]


async def _get(client: Client, path: str, **query: str) -> None:
    response = await client.send("GET", path, query=list(query.items()), accept=_TABLE)
    body = response.body if response.stream is None else b"".join([piece async for piece in response.stream])
    assert response.status == 200, body[:300]


def _objects() -> list[Obj]:
    made: list[Obj] = []
    for number in range(OBJECTS // 4):
        meta = {"name": f"app-{number}", "namespace": f"team-{number % 100}"}
        labels = {"app": meta["name"]}
        containers = [
            {"name": name, "image": f"registry.example/{name}:{number}", "ports": [{"containerPort": 8080}]}
            for name in ("web", "side")
        ]
        pods = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": meta["name"], "containers": containers}}
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pods}
        made += [
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": []}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"level": "info"}},
        ]
    made += [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{n}"}} for n in range(100)]
    return made


def _live() -> list[tuple[object, ...]]:
    evaluator, _ = shipped_evaluator()
    steps = evaluator.prepare((resource.api_version, resource.kind) for resource in checked_kinds())
    compiled = max(_held(lambda: next(steps, None)) for _ in range(_STEPS))
    objects = _objects()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as the engine's process
    before = _resident()
    started = time.perf_counter()
    checks = LiveChecks(World(), lambda ref: "")
    for tree in objects:
        checks.put(trimmed(orjson.dumps(tree)))
    longest = 0.0
    while len(checks):
        longest = max(longest, _held(checks.step))
    whole = time.perf_counter() - started
    grown = _resident() - before
    taken = {kind: _change(checks, objects, kind) for kind in ("Deployment", "Service", "ServiceAccount", "Namespace")}
    name = f"{OBJECTS} objects"
    figures: list[tuple[object, ...]] = [
        (f"{name}: all judged live", whole, "s", None, False, f"{whole / OBJECTS * 1e6:.0f} µs an object"),
        (f"{name}: longest hold of the loop", longest, "ms", 50.0),
        ("compiling the checks ahead: longest hold of the loop", compiled, "ms", 50.0),
        (f"{name}: memory", grown, "MB"),
    ]
    for kind, seconds in taken.items():
        figures.append((f"{name}: a {kind} changes", seconds * 1e3, "ms", 20.0))
    return figures


def _held(work: Callable[[], object]) -> float:
    """Milliseconds of CPU that work takes in one go."""
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1e3


def _change(checks: LiveChecks, objects: list[Obj], kind: str) -> float:
    """Seconds to judge what a change to one object affects, the median of some."""
    times = []
    for number, tree in enumerate([tree for tree in objects if tree["kind"] == kind][:21]):
        tree["metadata"]["labels"] = {"changed": str(number)}
        started = time.perf_counter()
        checks.put(trimmed(orjson.dumps(tree)))
        while len(checks):
            checks.step()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def _access() -> list[tuple[object, ...]]:
    """Accounts in namespaces of their own, each with a role, every tenth by way of another one's pods."""
    rule = [PolicyRule(verbs=["get", "create"], api_groups=["", "apps"], resources=["configmaps", "deployments"])]
    enter = [PolicyRule(verbs=["create"], api_groups=[""], resources=["pods/exec"])]
    rights, accounts, pods = Rights(), [], []
    for number in range(SUBJECTS):
        space = f"team-{number // 10}"
        who = account(space, f"app-{number}")
        accounts.append((space, f"app-{number}"))
        pods.append(PodFacts(space, f"app-{number}-0", f"app-{number}", f"node-{number % 10}"))
        rules = tuple(enter if number % 10 == 0 else rule)
        rights.grants[who] = [Grant(who, space, f"RoleBinding {space}/{number}", "Role app", rules)]
    cluster = Cluster(rights, accounts, pods)
    started = time.perf_counter()
    reached = sum(len(cluster.paths(State("subject", who.name, who))) for who in rights.grants)
    took = time.perf_counter() - started
    return [(f"{SUBJECTS} subjects: access paths of all", took, "s", None, False, f"{reached} states reached")]


if __name__ == "__main__":
    part = sys.argv[1]
    figures = _live() if part == "live" else _access() if part == "access" else asyncio.run(_kept(int(sys.argv[2])))
    print(json.dumps(figures))
