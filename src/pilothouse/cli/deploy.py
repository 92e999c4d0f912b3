"""`pilothouse deploy`: apply, then show each workload's way to ready, or the plain reason why it does not get there."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any, TypeAlias

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pilothouse.cli import output as out
from pilothouse.cli.apply import Applied, Applier
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.manifests import Manifest, Problem, in_order, read
from pilothouse.cli.podlogs import last_lines
from pilothouse.cli.progress import Progress, Trouble
from pilothouse.cli.workloads import BY_KIND, progress_of, ready_for_good
from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError, ServiceUnavailable

READY, NOT_READY, REFUSED, TIMED_OUT = 0, 1, 2, 3
"""Exit codes: all ready; a workload cannot get ready; a manifest was refused; time ran out."""

_PATIENCE = 12.0
"""Seconds a lasting trouble must last before the wait is given up."""
_SETTLING = 3.0
"""Seconds a workload without readiness probes must stay ready: one that crashes at once is ready for a moment."""


_Watched: TypeAlias = dict[type[Object], Informer[Any]]
"""The informers of one namespace."""


@dataclass(slots=True)
class Workload:
    """A workload that is waited for."""

    kind: str
    namespace: str
    name: str
    progress: Progress
    failing_since: float = 0.0
    ready_since: float = 0.0
    proves_itself: bool = False

    def update(self, progress: Progress, proves_itself: bool, now: float) -> None:
        """Takes in a fresh look."""
        self.progress, self.proves_itself = progress, proves_itself
        if progress.state == "failed":
            self.failing_since = self.failing_since or now
        elif progress.state == "ready":
            self.failing_since = 0.0
        self.ready_since = (self.ready_since or now) if progress.state == "ready" else 0.0

    def settled_at(self) -> float:
        """When it counts as ready for good, if nothing changes."""
        return self.ready_since + (0.0 if self.proves_itself else _SETTLING) if self.ready_since else math.inf

    @property
    def title(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


def run_deploy(
    source: str, namespace: str, timeout: float | None, output: str | None, data_dir: str, kubeconfig: str | None
) -> int:
    """Runs the command; `timeout` None does not wait. Returns its exit code."""
    out.check(output)
    manifests, problems = read(source)
    if problems:
        _show_problems(problems, output)
        return REFUSED
    try:
        return asyncio.run(_deploy(manifests, namespace, timeout, output, data_dir, kubeconfig))
    except ServiceUnavailable as error:
        raise CommandError(f"{error}: is the engine running? `pilothouse status` says", REFUSED) from error
    except ApiError as error:
        raise CommandError(str(error), REFUSED) from error


async def _deploy(
    manifests: list[Manifest],
    namespace: str,
    timeout: float | None,
    output: str | None,
    data_dir: str,
    kubeconfig: str | None,
) -> int:
    client = connect(data_dir, kubeconfig)
    try:
        applied, problems = await _apply_all(client, manifests, namespace, quiet=output is not None)
        workloads = [
            Workload(
                item.resource.kind,
                item.live["metadata"]["namespace"],
                item.live["metadata"]["name"],
                _unknown_progress(item),
            )
            for item in applied
            if item.resource.kind in BY_KIND
        ]
        code = REFUSED if problems else READY
        if timeout is not None and workloads and not problems:
            code = await _wait(client, workloads, timeout, quiet=output is not None)
        if output is not None:
            out.write(_report(applied, problems, workloads if timeout is not None else [], code), output)
        elif problems:
            _show_problems(problems, None)
        return code
    finally:
        await client.close()


async def _apply_all(
    client: Client, manifests: list[Manifest], namespace: str, quiet: bool
) -> tuple[list[Applied], list[Problem]]:
    applier = Applier(client, namespace)
    applied: list[Applied] = []
    problems: list[Problem] = []
    for manifest in in_order(manifests):
        result = await applier.apply(manifest)
        if isinstance(result, list):
            problems += result
            continue
        applied.append(result)
        if not quiet:
            typer.echo(f"{manifest.kind.lower()}/{manifest.name} {result.outcome}")
            for warning in result.warnings:
                typer.echo(f"  warning: {warning}", err=True)
    return applied, problems


async def _wait(client: Client, workloads: list[Workload], timeout: float, quiet: bool) -> int:
    """Follows the workloads until all are ready, one has failed for good, or time is up."""
    namespaces = {workload.namespace for workload in workloads}
    changed = asyncio.Event()
    watched: dict[str, _Watched] = {}
    for namespace in namespaces:
        kinds = {BY_KIND[workload.kind] for workload in workloads if workload.namespace == namespace}
        informers: _Watched = {
            cls: Informer(client, cls, namespace=namespace) for cls in (*kinds, ReplicaSet, Pod, Event)
        }
        for informer in informers.values():
            informer.subscribe(lambda *_: changed.set())
        watched[namespace] = informers
    tasks = [asyncio.create_task(informer.run()) for group in watched.values() for informer in group.values()]
    try:
        for group in watched.values():
            for informer in group.values():
                await asyncio.wait_for(informer.synced(), timeout)
        with _Screen(workloads, quiet) as screen:
            code = await _follow(workloads, watched, changed, time.monotonic() + timeout, screen)
    except TimeoutError:
        return TIMED_OUT
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not quiet:
        await _tell(client, workloads, code, timeout)
    return code


async def _follow(
    workloads: list[Workload],
    watched: dict[str, _Watched],
    changed: asyncio.Event,
    deadline: float,
    screen: _Screen,
) -> int:
    while True:
        changed.clear()
        now = time.monotonic()
        for workload in workloads:
            _look(workload, watched[workload.namespace], now)
        screen.show(workloads)
        settled = max(workload.settled_at() for workload in workloads)
        if settled <= now:
            return READY
        # A retry looks like waiting for a moment: the first failure counts until it is ready.
        given_up = [
            w.failing_since + (0.0 if w.progress.final else _PATIENCE)
            for w in workloads
            if w.progress.state == "failed"
        ]
        if given_up and min(given_up) <= now:
            return NOT_READY
        if now >= deadline:
            return TIMED_OUT
        try:
            await asyncio.wait_for(changed.wait(), min([deadline, now + 1.0, settled, *given_up]) - now + 0.01)
        except TimeoutError:
            continue


def _look(workload: Workload, watched: _Watched, now: float) -> None:
    live = watched[BY_KIND[workload.kind]].get(f"{workload.namespace}/{workload.name}")
    if live is not None:
        progress = progress_of(live, watched[ReplicaSet], watched[Pod], watched[Event])
        workload.update(progress, ready_for_good(live), now)


class _Screen:
    """A live table on a terminal; elsewhere a line whenever a workload's text changes."""

    def __init__(self, workloads: list[Workload], quiet: bool) -> None:
        console = Console()
        self._quiet = quiet
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal and not quiet else None
        self._said: dict[str, str] = {}

    def __enter__(self) -> _Screen:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def show(self, workloads: list[Workload]) -> None:
        if self._live is not None:
            self._live.update(_table(workloads))
        elif not self._quiet:
            for workload in workloads:
                progress = workload.progress
                line = f"{workload.title}: {progress.ready}/{progress.wanted} {progress.text}"
                if self._said.get(workload.title) != line:
                    self._said[workload.title] = line
                    typer.echo(line)


def _table(workloads: list[Workload]) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in ("WORKLOAD", "NAMESPACE", "READY", "STATE"):
        table.add_column(header)
    colours = {"ready": "green", "waiting": "yellow", "failed": "red"}
    for workload in workloads:
        progress = workload.progress
        text = Text(progress.text, style=colours[progress.state])
        table.add_row(workload.title, workload.namespace, f"{progress.ready}/{progress.wanted}", text)
    return table


async def _tell(client: Client, workloads: list[Workload], code: int, timeout: float) -> None:
    if code == READY:
        typer.echo(f"{len(workloads)} of {len(workloads)} workloads are ready.")
        return
    for workload in workloads:
        progress = workload.progress
        if progress.state == "ready":
            continue
        typer.echo(f"\n{workload.title} in namespace {workload.namespace} is not ready: {progress.text}", err=True)
        for trouble in dict.fromkeys(progress.troubles):
            where = f"  pod {trouble.pod}" + (f", container {trouble.container}" if trouble.container else "")
            typer.echo(f"{where if trouble.pod else '  pods'}: {trouble.reason}: {trouble.message}", err=True)
            if trouble.wants_log:
                await _show_log(client, workload.namespace, trouble)
    if code == TIMED_OUT:
        typer.echo(
            f"\nNot ready after {timeout:.0f} s; it goes on being tried. `pilothouse status` shows more.", err=True
        )


async def _show_log(client: Client, namespace: str, trouble: Trouble) -> None:
    for line in await last_lines(client, namespace, trouble.pod, trouble.container, 10):
        typer.echo(f"    | {line}", err=True)


def _show_problems(problems: list[Problem], output: str | None) -> None:
    if output is not None:
        out.write(_report([], problems, [], REFUSED), output)
        return
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)


def _report(applied: list[Applied], problems: list[Problem], workloads: list[Workload], code: int) -> dict[str, Any]:
    return {
        "ready": code == READY,
        "exitCode": code,
        "objects": [
            {
                "apiVersion": item.resource.api_version,
                "kind": item.resource.kind,
                "namespace": item.live["metadata"].get("namespace", ""),
                "name": item.live["metadata"]["name"],
                "outcome": item.outcome,
                "warnings": item.warnings,
            }
            for item in applied
        ],
        "problems": [{"file": p.file, "line": p.line, "column": p.column, "message": p.message} for p in problems],
        "workloads": [
            {
                "kind": w.kind,
                "namespace": w.namespace,
                "name": w.name,
                "state": w.progress.state,
                "ready": w.progress.ready,
                "wanted": w.progress.wanted,
                "message": w.progress.text,
                "troubles": [
                    {"reason": t.reason, "message": t.message, "pod": t.pod, "container": t.container}
                    for t in w.progress.troubles
                ],
            }
            for w in workloads
        ],
    }


def _unknown_progress(item: Applied) -> Progress:
    spec = item.live["spec"]
    wanted = spec.get("completions", spec.get("replicas", 1))
    return Progress("waiting", 0, wanted, "applied")
