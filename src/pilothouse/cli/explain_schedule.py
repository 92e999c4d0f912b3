"""`pilothouse explain-schedule POD`: the nodes, filters and scores behind a placement, or behind none."""

from __future__ import annotations

import asyncio

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pilothouse.cli import output as out
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.client.client import Client
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.persistent_volume import PersistentVolume
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.storage.csi_driver import CSIDriver
from pilothouse.kinds.storage.csi_node import CSINode
from pilothouse.kinds.storage.csi_storage_capacity import CSIStorageCapacity
from pilothouse.kinds.storage.storage_class import StorageClass
from pilothouse.machinery.errors import ApiError
from pilothouse.scheduler.explain import Explanation, NodeVerdict, explain
from pilothouse.scheduler.pod_info import PodInfo
from pilothouse.scheduler.snapshot import Snapshot, Storage

_SHOWN = 20


def run_explain_schedule(
    name: str, namespace: str, show_all: bool, output: str | None, data_dir: str, kubeconfig: str | None
) -> int:
    """Prints what the scheduler makes of a pod; returns 1 when no node will do."""
    out.check(output)
    try:
        pod, snapshot = asyncio.run(_look(name.removeprefix("pod/"), namespace, data_dir, kubeconfig))
        found = explain(PodInfo.of(pod), snapshot)
    except ApiError as error:
        raise CommandError(str(error)) from error
    except ValueError as error:
        raise CommandError(f"pod {name} cannot be read: {error}") from error
    if output is not None:
        out.write(_tree(pod, found), output)
    else:
        _print(pod, found, show_all)
    return 0 if found.chosen else 1


async def _look(name: str, namespace: str, data_dir: str, kubeconfig: str | None) -> tuple[Pod, Snapshot]:
    client = connect(data_dir, kubeconfig)
    try:
        pod = await client.get(Pod, name, namespace)
        return pod, await snapshot_without(pod, client)
    finally:
        await client.close()


async def snapshot_without(pod: Pod, client: Client) -> Snapshot:
    """The cluster as the scheduler sees it, as if the pod had not been placed."""
    snapshot = Snapshot()
    for node in (await client.list(Node)).items:
        snapshot.put_node(node)
    for each in (await client.list(Namespace)).items:
        snapshot.put_namespace(each.name, each.metadata.labels)
    for other in (await client.list(Pod)).items:
        ended = other.status.phase in ("Succeeded", "Failed")
        if other.spec.node_name and not ended and other.key != pod.key:
            snapshot.put_pod(PodInfo.of(other), other.spec.node_name)
    snapshot.storage = Storage(
        {claim.key: claim for claim in (await client.list(PersistentVolumeClaim)).items},
        {volume.key: volume for volume in (await client.list(PersistentVolume)).items},
        {each.key: each for each in (await client.list(StorageClass)).items},
        {each.name: each for each in (await client.list(CSINode)).items},
        {each.name: each for each in (await client.list(CSIDriver)).items},
        (await client.list(CSIStorageCapacity)).items,
    )
    return snapshot


def _tree(pod: Pod, found: Explanation) -> dict[str, object]:
    return {
        "pod": pod.key,
        "node": pod.spec.node_name or None,
        "wouldGoTo": found.chosen or None,
        "message": found.message,
        "nodes": [
            {
                "name": verdict.node,
                "filter": verdict.filter or None,
                "reasons": list(verdict.reasons),
                "score": round(verdict.total, 2),
                "scores": {name: round(value, 2) for name, value in verdict.scores.items()},
            }
            for verdict in found.verdicts
        ],
    }


def _print(pod: Pod, found: Explanation, show_all: bool) -> None:
    where = f"runs on {pod.spec.node_name}" if pod.spec.node_name else "waits for a node"
    typer.echo(f"{pod.key} {where}. As things are now, without it: {found.message}")
    fitting = [verdict for verdict in found.verdicts if not verdict.filter]
    others = [verdict for verdict in found.verdicts if verdict.filter]
    console = Console(soft_wrap=True)
    for title, verdicts in (("fitting", fitting), ("refused", others)):
        shown = verdicts if show_all else verdicts[:_SHOWN]
        if shown:
            typer.echo("")
            console.print(_table(title, shown, pod.spec.node_name, found.chosen))
        if len(shown) < len(verdicts):
            typer.echo(f"… and {len(verdicts) - len(shown)} more {title}: --all shows them")


def _table(title: str, verdicts: list[NodeVerdict], here: str, chosen: str) -> Table:
    table = Table(box=None, pad_edge=False)
    names = list(dict.fromkeys(name for verdict in verdicts for name in verdict.scores))
    headers = ["FITTING NODE", "SCORE", *names] if title == "fitting" else ["REFUSED NODE", "FILTER", "REASON"]
    for header in headers:
        table.add_column(header, overflow="fold")
    for verdict in verdicts:
        mark = " (here)" if verdict.node == here else " (chosen)" if verdict.node == chosen else ""
        cells = (
            [f"{verdict.total:.1f}", *(f"{verdict.scores.get(name, 0.0):.1f}" for name in names)]
            if title == "fitting"
            else [verdict.filter, "; ".join(verdict.reasons)]
        )
        table.add_row(Text(verdict.node + mark), *map(Text, cells))
    return table
