"""Logs of pods that are gone: which the nodes still keep, and their lines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pilothouse.cli.podlogs import lines
from pilothouse.client.client import Client
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Forbidden

_HASH = "[bcdf0-9a-z]{5}"
_NAMES = {
    "Deployment": rf"-[0-9a-z]{{5,10}}-{_HASH}",
    "ReplicaSet": rf"-{_HASH}",
    "DaemonSet": rf"-{_HASH}",
    "StatefulSet": r"-\d+",
    "Job": rf"(-\d+)?-{_HASH}",
}
"""What a kind of workload adds to its name for its pods."""


@dataclass(frozen=True, slots=True)
class GoneLog:
    """A log that a node keeps; sizes are bytes, times seconds since the epoch."""

    node: str
    pod: str
    uid: str
    container: str
    attempts: int
    bytes: int
    ended: float


async def find(client: Client, namespace: str, name: str, kind: str = "") -> tuple[list[GoneLog], list[str]]:
    """The logs of gone pods of that name, or of a workload of that name; and what the nodes not reached said.

    Without a kind, pods whose names begin with the name and a dash are found too. Raises ApiError.
    """
    import orjson

    path = Pod.resource.path(namespace, name, "log")
    try:
        body = await client.request("GET", path, query=[("gone", "true"), ("prefix", "true")])
    except Forbidden:
        # Who may read the log of this one pod only is not shown those of others.
        body = await client.request("GET", path, query=[("gone", "true")])
    tree = orjson.loads(body)
    found = [GoneLog(**{field: log[field] for field in GoneLog.__dataclass_fields__}) for log in tree["items"]]
    if kind in _NAMES:
        made = re.compile(re.escape(name) + _NAMES[kind])
        found = [log for log in found if made.fullmatch(log.pod)]
    return found, [f"node {entry['node']}: {entry['reason']}" for entry in tree["unreached"]]


def read(client: Client, namespace: str, log: GoneLog, tail: int | None) -> AsyncIterator[str]:
    """The lines of a log. Raises ApiError."""
    query = [("gone", "true"), ("node", log.node), ("uid", log.uid), ("container", log.container)]
    if tail is not None:
        query.append(("tailLines", str(tail)))
    return lines(client, namespace, log.pod, query)
