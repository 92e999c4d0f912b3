"""`pilothouse network flows`, `denied` and `advise`."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import typer
import yaml

from pilothouse.cli import output as formats
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.manifests import read
from pilothouse.client.client import Client
from pilothouse.kinds.columns import human_duration
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Obj, parse_timestamp
from pilothouse.network.advice import Advice, World, advise, cut, flow_of
from pilothouse.network.record import FlowKey
from pilothouse.network.views import PodView

_API = "/apis/network.pilothouse.dev/v1alpha1"


def run_flows(kind: str, namespace: str | None, output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Prints flows or denied flows; the exit code."""
    formats.check(output)
    tree = asyncio.run(_with_client(data_dir, kubeconfig, lambda client: _list(client, kind, namespace)))
    if output:
        formats.write(tree, output)
        return 0
    now = dt.datetime.now(dt.UTC)
    typer.echo("\n".join(denied_lines(tree, now) if kind == "deniedflows" else flow_lines(tree, now)))
    for line in _doubts(tree):
        typer.echo(line, err=True)
    return 0


def run_advise(namespace: str, replay: str | None, output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Prints the policies to apply or, with `replay`, what those of a file would cut; the exit code."""
    formats.check(output)
    proposed = _proposed(replay, namespace) if replay is not None else None
    tree, world = asyncio.run(_with_client(data_dir, kubeconfig, lambda client: _world(client, namespace)))
    for line in _doubts(tree):
        typer.echo(line, err=True)
    if proposed is not None:
        try:
            lost = cut(namespace, world, proposed)
        except ValueError as error:
            raise CommandError(f"{replay}: {error}") from error
        if output:
            formats.write({"recorded": len(world.flows), "cut": [_flow_tree(flow) for flow in lost]}, output)
        else:
            typer.echo("\n".join(_cut_lines(lost, len(world.flows))))
        return 1 if lost else 0
    advice = advise(namespace, world)
    if output:
        formats.write(
            {
                "policies": advice.policies,
                "superseded": advice.superseded,
                "unused": advice.unused,
                "recorded": len(world.flows),
            },
            output,
        )
    else:
        typer.echo(advice_text(namespace, advice, tree, len(world.flows)), nl=False)
    return 0


async def _with_client(data_dir: str, kubeconfig: str | None, work: Any) -> Any:
    client = connect(data_dir, kubeconfig)
    try:
        return await work(client)
    except ApiError as error:
        hint = "; this cluster keeps no flows (it is not Pilothouse's own)" if error.code == 404 else ""
        raise CommandError(f"flows cannot be read: {error.message}{hint}") from error
    finally:
        await client.close()


async def _list(client: Client, kind: str, namespace: str | None) -> Obj:
    if namespace:
        await client.get(Namespace, namespace)
    place = f"/namespaces/{namespace}" if namespace else ""
    tree: Obj = msgspec.json.decode(await client.request("GET", f"{_API}{place}/{kind}"))
    return tree


async def _world(client: Client, namespace: str) -> tuple[Obj, World]:
    tree = await _list(client, "flows", namespace)
    pods = (await client.list(PodView)).items
    namespaces = {item.name: item.metadata.labels for item in (await client.list(Namespace)).items}
    policies = (await client.list(NetworkPolicy)).items
    flows = [flow for flow in map(flow_of, tree["items"]) if flow is not None]
    return tree, World(pods, namespaces, policies, flows)


def _proposed(path: str, namespace: str) -> list[NetworkPolicy]:
    manifests, problems = read(path)
    if problems:
        raise CommandError("; ".join(str(problem) for problem in problems), code=2)
    found = []
    for manifest in manifests:
        tree = manifest.tree
        if manifest.kind != "NetworkPolicy":
            continue
        tree.setdefault("metadata", {}).setdefault("namespace", namespace)
        try:
            found.append(from_tree(NetworkPolicy, tree))
        except (msgspec.ValidationError, ValueError) as error:
            raise CommandError(f"{path}: {error}", code=2) from error
    if not found:
        raise CommandError(f"{path} holds no NetworkPolicy", code=2)
    return found


def flow_lines(tree: Obj, now: dt.datetime) -> list[str]:
    """A line for each flow."""
    if not tree["items"]:
        return ["no connections seen"]
    rows = [
        (
            item["source"],
            item["destination"],
            _port(item),
            str(item["count"]),
            _age(item["first"], now),
            _last(item, now),
        )
        for item in tree["items"]
    ]
    return _table([("FROM", "TO", "PORT", "MINUTES", "FIRST", "LAST"), *rows])


def denied_lines(tree: Obj, now: dt.datetime) -> list[str]:
    """A line for each denied flow, then the policies' counts."""
    if not tree["items"]:
        return ["no connections denied"]
    rows = [
        (
            item["source"],
            item["destination"],
            _port(item),
            item["direction"],
            ", ".join(item.get("policies", ())) or "(gone)",
            str(item["count"]),
            _last(item, now),
        )
        for item in tree["items"]
    ]
    lines = _table([("FROM", "TO", "PORT", "DENIED AT", "BY POLICY", "PACKETS", "LAST"), *rows])
    counts = [(policy, str(count)) for policy, count in tree.get("policies", {}).items()]
    return [*lines, "", *_table([("POLICY", "PACKETS DENIED"), *counts])] if counts else lines


def advice_text(namespace: str, advice: Advice, tree: Obj, recorded: int) -> str:
    """YAML to apply, with what to know as comments."""
    since = min((value for value in tree["since"].values() if value), default=0.0)
    when = dt.datetime.fromtimestamp(since, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = [f"From {recorded} flows of namespace {namespace} recorded since {when}; all else is denied."]
    if not recorded:
        head.append("Nothing was recorded: these policies deny everything.")
    head += [f"Today's {text}." for text in advice.unused]
    if advice.superseded:
        names = " ".join(advice.superseded)
        head.append("What other policies allow stays allowed: delete them once these are applied, by")
        head.append(f"  kubectl -n {namespace} delete networkpolicy {names}")
    documents = [yaml.safe_dump(policy, sort_keys=False) for policy in advice.policies]
    return "".join(f"# {line}\n" for line in head) + "".join(f"---\n{document}" for document in documents)


def _cut_lines(lost: Sequence[FlowKey], recorded: int) -> list[str]:
    if not lost:
        return [f"none of {recorded} recorded flows would be cut"]
    rows = [(_end(flow[0]), _end(flow[1]), f"{flow[3]}/{flow[2]}") for flow in lost]
    return [f"{len(lost)} of {recorded} recorded flows would be cut:", *_table([("FROM", "TO", "PORT"), *rows])]


def _end(end: Any) -> str:
    labels = ",".join(f"{key}={value}" for key, value in end.labels)
    return f"{end.namespace} ({labels})" if end.namespace else end.address


def _flow_tree(flow: FlowKey) -> Obj:
    return {"from": flow[0].tree(), "to": flow[1].tree(), "protocol": flow[2], "port": flow[3]}


def _doubts(tree: Obj) -> list[str]:
    lines = []
    if tree.get("silent"):
        lines.append(f"warning: not asked, since they do not answer: nodes {', '.join(tree['silent'])}")
    if tree.get("forgotten"):
        lines.append(f"warning: {tree['forgotten']} older entries were forgotten for want of room")
    if tree.get("unread"):
        lines.append("warning: packets came faster than they could be read: the list may lack some")
    return lines


def _port(item: Obj) -> str:
    return f"{item['port']}/{item['protocol']}" if item["port"] else str(item["protocol"])


def _age(text: str, now: dt.datetime) -> str:
    return human_duration(max(0.0, (now - parse_timestamp(text)).total_seconds()))


def _last(item: Obj, now: dt.datetime) -> str:
    return f"{_age(item['last'], now)} ago"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
