"""`pilothouse logs`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

import typer

from pilothouse.cli import gone_logs
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.podlogs import lines
from pilothouse.client.client import Client
from pilothouse.kinds.apps.daemon_set import DaemonSet
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.apps.stateful_set import StatefulSet
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.selectors import from_label_selector

_Owner: TypeAlias = Deployment | ReplicaSet | StatefulSet | DaemonSet | Job
_SHORT: dict[type[_Owner], str] = {
    Deployment: "deploy",
    ReplicaSet: "rs",
    StatefulSet: "sts",
    DaemonSet: "ds",
    Job: "job",
}
_OWNERS = {
    name: cls for cls, short in _SHORT.items() for name in (cls.resource.kind.lower(), cls.resource.plural, short)
}


@dataclass(frozen=True, slots=True)
class LogOptions:
    container: str | None
    follow: bool
    previous: bool
    tail: int | None
    all: bool = False
    """Those of pods that are gone too, as far as nodes keep them."""

    def query(self, container: str) -> list[tuple[str, str]]:
        query = [("container", container)]
        if self.follow:
            query.append(("follow", "true"))
        if self.previous:
            query.append(("previous", "true"))
        if self.tail is not None:
            query.append(("tailLines", str(self.tail)))
        return query


def run_logs(name: str, namespace: str, options: LogOptions, data_dir: str, kubeconfig: str | None) -> int:
    """Prints the logs of a pod, or of every pod of `KIND/NAME`; returns the exit code."""
    try:
        return asyncio.run(_logs(name, namespace, options, data_dir, kubeconfig))
    except ApiError as error:
        raise CommandError(str(error)) from error


async def _logs(name: str, namespace: str, options: LogOptions, data_dir: str, kubeconfig: str | None) -> int:
    client = connect(data_dir, kubeconfig)
    try:
        if options.all:
            return await _all(client, name, namespace, options)
        sources = await _sources(client, name, namespace, options.container)
        prefixed = len(sources) > 1
        results = await asyncio.gather(
            *(_print(client, namespace, pod, container, options, prefixed) for pod, container in sources)
        )
        return 0 if all(results) else 1
    finally:
        await client.close()


async def _all(client: Client, name: str, namespace: str, options: LogOptions) -> int:
    """Prints what nodes keep of pods that are gone, then what there is of those that are there."""
    kind, slash, rest = name.partition("/")
    cls = _OWNERS.get(kind) if slash else None
    gone, unreached = await gone_logs.find(client, namespace, rest or name, cls.resource.kind if cls else "")
    if options.container is not None:
        gone = [log for log in gone if log.container == options.container]
    try:
        sources = await _sources(client, name, namespace, options.container)
    except NotFound:
        sources = []
    prefixed = len(gone) + len(sources) > 1
    for log in gone:
        prefix = f"{log.pod} {log.container} | " if prefixed else ""
        async for line in gone_logs.read(client, namespace, log, options.tail):
            typer.echo(prefix + line)
    results = [await _print(client, namespace, pod, container, options, prefixed) for pod, container in sources]
    for reason in unreached:
        typer.echo(f"error: logs of gone pods could not be asked for: {reason}", err=True)
    if not gone and not sources and not unreached:
        raise CommandError(
            f"no node keeps a log of {name} in namespace {namespace}: logs of pods that are gone are kept for a day, "
            "as long as they take 256 MiB together (kept_logs_seconds, kept_logs_size)"
        )
    return 0 if all(results) and not unreached else 1


async def _sources(client: Client, name: str, namespace: str, container: str | None) -> list[tuple[str, str]]:
    kind, slash, rest = name.partition("/")
    pods = [await client.get(Pod, name, namespace)] if not slash else await _pods_of(client, kind, rest, namespace)
    if not pods:
        raise CommandError(f"{name} has no pods in namespace {namespace}")
    sources = []
    for pod in pods:
        names = [c.name for c in [*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers]]
        if container is not None and container not in names:
            raise CommandError(f"pod {pod.name} has no container {container}: it has {', '.join(names)}")
        chosen = [container] if container else [c.name for c in pod.spec.containers]
        sources += [(pod.name, each) for each in chosen]
    return sources


async def _pods_of(client: Client, kind: str, name: str, namespace: str) -> list[Pod]:
    if kind in ("pod", "pods", "po"):
        return [await client.get(Pod, name, namespace)]
    cls = _OWNERS.get(kind)
    if cls is None:
        known = ", ".join(f"{each.resource.kind.lower()}/NAME" for each in dict.fromkeys(_OWNERS.values()))
        raise CommandError(f"{kind}/{name}: logs are of a pod or of {known}")
    owner = await client.get(cls, name, namespace)
    selector = from_label_selector(owner.spec.selector)
    page = await client.list(Pod, namespace)
    return [pod for pod in page.items if selector.matches(pod.metadata.labels)]


async def _print(client: Client, namespace: str, pod: str, container: str, options: LogOptions, prefixed: bool) -> bool:
    prefix = f"{pod} {container} | " if prefixed else ""
    try:
        async for line in lines(client, namespace, pod, options.query(container)):
            typer.echo(prefix + line)
    except ApiError as error:
        typer.echo(f"error: {pod} {container}: {error}", err=True)
        return False
    return True
