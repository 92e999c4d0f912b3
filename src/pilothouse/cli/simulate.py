"""`pilothouse simulate FILE…`: what a cluster of virtual nodes would make of these workloads.

The real API, controllers and scheduler run in this process, over a store in memory; there are no containers. The exit
code is 0 when everything got ready, 1 when something did not, 2 when a manifest or the setting cannot be used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pilothouse.cli import output as out
from pilothouse.cli.apply import Applier
from pilothouse.cli.errors import CommandError
from pilothouse.cli.manifests import Manifest, in_order, read
from pilothouse.cli.workloads import WORKLOADS, progress_of
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.core.pod import Pod
from pilothouse.launch.simulation.cluster import SimulatedCluster, simulated_cluster
from pilothouse.launch.simulation.nodes import VirtualNode, made_of
from pilothouse.launch.simulation.report import Report, by_type, unplaced
from pilothouse.launch.simulation.setting import KIND, InvalidSetting, node_types

_LOOK = 0.25
_SETTLED = 4.0
"""Seconds without any change after which what is not ready will not become so."""


@dataclass(slots=True)
class _State:
    """What there is at the moment; `changed` is when that was last something else."""

    placed: int = 0
    running: int = 0
    waiting: int = 0
    ready: bool = False
    changed: float = 0.0

    def look(self, placed: int, running: int, waiting: int, ready: bool) -> None:
        if (placed, running, waiting, ready) != (self.placed, self.running, self.waiting, self.ready):
            self.placed, self.running, self.waiting, self.ready = placed, running, waiting, ready
            self.changed = time.monotonic()


def run_simulate(paths: list[str], namespace: str, timeout: float, output: str | None) -> int:
    """Runs the simulation and prints what came of it."""
    out.check(output)
    if not paths:
        raise CommandError("name a file with a Simulation and workloads, or - for standard input", code=2)
    manifests: list[Manifest] = []
    for path in paths:
        found, problems = read(path)
        if problems:
            raise CommandError("\n".join(map(str, problems)), code=2)
        manifests += found
    settings = [manifest for manifest in manifests if manifest.kind == KIND]
    if len(settings) != 1:
        raise CommandError(
            f"there must be one object of kind {KIND} that names the nodes; there are {len(settings)}", 2
        )
    try:
        nodes = made_of(node_types(settings[0].tree))
    except InvalidSetting as error:
        raise CommandError(f"{settings[0].file}:{settings[0].line}: {error}", code=2) from error
    logging.getLogger("pilothouse").setLevel(logging.ERROR)
    workloads = [manifest for manifest in manifests if manifest.kind != KIND]
    report = uvloop.run(_simulate(nodes, workloads, namespace, timeout, quiet=output is not None))
    if output is not None:
        out.write(msgspec.to_builtins(report), output)
    else:
        _print(report)
    if report.refused:
        return 2
    return 0 if all(workload["state"] == "ready" for workload in report.workloads) and not report.unplaced else 1


async def _simulate(
    nodes: list[VirtualNode], manifests: list[Manifest], namespace: str, timeout: float, quiet: bool
) -> Report:
    with _progress(quiet) as say:
        say(f"registering {len(nodes)} nodes")
        async with simulated_cluster(nodes) as cluster:
            applier = Applier(cluster.admin, namespace)
            refused: list[str] = []
            began = time.monotonic()
            for manifest in in_order(manifests):
                result = await applier.apply(manifest)
                if isinstance(result, list):
                    refused += map(str, result)
            state = _State(changed=began)
            while not state.ready and time.monotonic() - state.changed < _SETTLED:
                await asyncio.sleep(_LOOK)
                await _look(cluster, state)
                say(f"{state.placed} pods placed, {state.running} running, {state.waiting} waiting")
                if time.monotonic() - began > timeout:
                    break
            return await _report(cluster, nodes, state, began, refused)


async def _look(cluster: SimulatedCluster, state: _State) -> None:
    pods = list(cluster.informers.of(Pod))
    placed = sum(bool(pod.spec.node_name) for pod in pods)
    running = sum(pod.status.phase in ("Running", "Succeeded") for pod in pods)
    ready = bool(pods) and running == len(pods) and all(w["state"] == "ready" for w in await _workloads(cluster))
    state.look(placed, running, len(pods) - placed, ready)


async def _workloads(cluster: SimulatedCluster) -> list[dict[str, object]]:
    replica_sets = list(cluster.informers.of(ReplicaSet))
    pods = list(cluster.informers.of(Pod))
    found: list[dict[str, object]] = []
    for cls in WORKLOADS:
        for live in (await cluster.admin.list(cls)).items:
            progress = progress_of(
                live,
                [rs for rs in replica_sets if rs.namespace == live.namespace],
                [pod for pod in pods if pod.namespace == live.namespace],
            )
            found.append(
                {
                    "kind": cls.resource.kind,
                    "namespace": live.namespace,
                    "name": live.name,
                    "ready": progress.ready,
                    "wanted": progress.wanted,
                    "state": progress.state,
                    "message": progress.text,
                }
            )
    return found


async def _report(
    cluster: SimulatedCluster, nodes: list[VirtualNode], state: _State, began: float, refused: list[str]
) -> Report:
    pods = list(cluster.informers.of(Pod))
    seconds = max(state.changed - began, 0.001)
    return Report(
        seconds=round(seconds, 2),
        placed=state.placed,
        running=state.running,
        placed_per_second=round(state.placed / seconds, 1),
        types=by_type(nodes, pods),
        unplaced=unplaced(pods),
        workloads=await _workloads(cluster),
        refused=refused,
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A line that is written over on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda text: None
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield lambda text: live.update(Text(text), refresh=True)


def _print(report: Report) -> None:
    console = Console(soft_wrap=True)
    typer.echo(
        f"{report.placed} pods placed, {report.running} running after {report.seconds} s"
        f" ({report.placed_per_second:.0f} pods/s)"
    )
    priced = any(kind.cost for kind in report.types)
    headers = ["NODES OF TYPE", "COUNT", "USED", "PODS", "CPU", "MEMORY", "CPU FROM", "TO"]
    table = _table([*headers, "COST/H", "OF USED"] if priced else headers)
    for kind in report.types:
        shares = (kind.cpu, kind.memory, kind.emptiest_cpu, kind.fullest_cpu)
        cells = [kind.name, str(kind.nodes), str(kind.used), str(kind.pods), *(f"{share:.0%}" for share in shares)]
        table.add_row(*cells, *([f"{kind.cost:.2f}", f"{kind.cost_used:.2f}"] if priced else []))
    console.print(table)
    if report.workloads:
        table = _table(["NAMESPACE", "WORKLOAD", "READY", "STATE"])
        for each in report.workloads:
            name = f"{str(each['kind']).lower()}/{each['name']}"
            table.add_row(*map(str, (each["namespace"], name, f"{each['ready']}/{each['wanted']}", each["message"])))
        console.print(table)
    if report.unplaced:
        table = _table(["DID NOT FIT", "PODS", "WHY"])
        for entry in report.unplaced:
            table.add_row(entry.owner, str(entry.pods), entry.reason)
        console.print(table)
    for refusal in report.refused:
        typer.echo(f"refused: {refusal}", err=True)


def _table(headers: list[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
