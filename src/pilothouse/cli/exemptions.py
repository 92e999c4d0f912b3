"""`pilothouse exemption`: ask for one, grant or deny it, see what there is."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from pilothouse.cli import output as formats
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.findings import seconds
from pilothouse.client.client import Client
from pilothouse.kinds.guard.exemption import APPROVED, DENIED, Exemption, ExemptionSpec, state_of
from pilothouse.kinds.guard.finding import Finding
from pilothouse.kinds.view import ObjectMeta, to_tree
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import timestamp

T = TypeVar("T")


def run_request(
    finding: str, namespace: str, spec: ExemptionSpec, length: str, data_dir: str, kubeconfig: str | None
) -> int:
    """Asks for an exemption of one finding's rule on its object."""
    period = seconds(length, "--for") or 0.0

    async def ask(client: Client) -> Exemption:
        found = await client.get(Finding, finding, namespace)
        spec.rules, spec.kinds, spec.names = [found.spec.rule], [found.spec.subject.kind], [found.spec.subject.name]
        spec.expires = timestamp(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=period))
        return await client.create(Exemption(metadata=ObjectMeta(name=finding, namespace=namespace), spec=spec))

    made = _with_client(ask, data_dir, kubeconfig)
    typer.echo(f"asked for {namespace}/{made.name}; somebody else must grant it:")
    typer.echo(f"  pilothouse exemption approve {made.name} -n {namespace}")
    return 0


def run_decide(name: str, namespace: str, approve: bool, data_dir: str, kubeconfig: str | None) -> int:
    """Grants or denies an exemption."""
    patch = {"status": {"approval": APPROVED if approve else DENIED}}
    decided = _with_client(
        lambda client: client.patch(Exemption, name, namespace, patch, subresource="status"), data_dir, kubeconfig
    )
    typer.echo(f"{namespace}/{name}: {decided.status.approval} by {decided.status.decided_by}")
    return 0


def run_list(namespace: str | None, output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Prints what there is."""
    formats.check(output)
    page = _with_client(lambda client: client.list(Exemption, namespace), data_dir, kubeconfig)
    trees = [to_tree(item) for item in page.items]
    if output:
        formats.write({"apiVersion": "v1", "kind": "List", "items": trees}, output)
        return 0
    for tree, item in zip(trees, page.items):
        spec, status = item.spec, item.status
        typer.echo(f"{item.key}  {state_of(tree)}  until {spec.expires}  owner: {spec.owner}  used: {status.used}")
        typer.echo(f"  {', '.join(spec.rules)}: {spec.reason} (asked by {spec.requested_by or 'nobody'})")
    if not trees:
        typer.echo("no exemptions")
    return 0


def _with_client(work: Callable[[Client], Awaitable[T]], data_dir: str, kubeconfig: str | None) -> T:
    async def run() -> T:
        client = connect(data_dir, kubeconfig)
        try:
            return await work(client)
        except ApiError as error:
            raise CommandError(error.message) from error
        finally:
            await client.close()

    return asyncio.run(run())
