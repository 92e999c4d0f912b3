"""Runs the pods of a folder, whether the API answers or not, and shows each there by a mirror.

A mirror is only a picture: the node makes it again when somebody deletes it, and takes it away with the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.linux.inotify import IN_CLOSE_WRITE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO, DirectoryWatch
from pilothouse.machinery.errors import AlreadyExists, ApiError, Conflict, NotFound
from pilothouse.node.pods import Pods
from pilothouse.node.state import PodTable
from pilothouse.node.static.mirrors import ended, mirror_of, plan_mirrors

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""Between looks while a pod that is to go still runs, or a mirror could not be made."""
_GATHER = 0.05


class StaticPods:
    """The pods of `directory`. `informer` is that of the node's pods, mirrors among them."""

    def __init__(
        self, client: Client, pods: Pods, table: PodTable, informer: Informer[Pod], directory: Path, node_name: str
    ) -> None:
        self._client = client
        self._pods = pods
        self._table = table
        self._informer = informer
        self._directory = directory
        self._node_name = node_name
        self._told: dict[str, str] = {}
        self._wanted: dict[str, Pod] = {}
        self._wake = asyncio.Event()

    def uids(self) -> set[str]:
        """Those of the pods whose files are there."""
        return {pod.metadata.uid for pod in self._wanted.values()}

    async def load(self, kept: Iterable[Pod]) -> None:
        """Reads the folder, before anything runs. Of the pods `kept` from an earlier run, those without a file end."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._read()
        for pod in kept:
            self._pods.desire(pod, static=True)
        self._converge()

    async def run(self) -> None:
        """Follows the folder and the mirrors until cancelled."""
        self._informer.subscribe(lambda key, old, new: self._wake.set())
        mask = IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
        with DirectoryWatch(self._directory, mask) as watch:
            await self._read()
            follow = asyncio.create_task(self._follow(watch))
            try:
                while True:
                    self._wake.clear()
                    settled = self._converge()
                    settled = await self._mirror() and settled
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), None if settled else _LOOK_SECONDS)
            finally:
                follow.cancel()

    async def _follow(self, watch: DirectoryWatch) -> None:
        while True:
            await watch.wait()
            await asyncio.sleep(_GATHER)
            watch.pending()
            await self._read()
            self._wake.set()

    async def _read(self) -> None:
        self._wanted = await asyncio.to_thread(self._read_all)

    def _read_all(self) -> dict[str, Pod]:
        """The pods by their keys; what cannot be read is told once, and the rest runs."""
        from pilothouse.node.static.manifest import ManifestError, read  # brings validation and YAML, which few need

        found: dict[str, Pod] = {}
        problems: dict[str, str] = {}
        for path in sorted(self._directory.iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            try:
                pod = read(path.read_bytes(), self._node_name)
                if pod.key in found:
                    raise ManifestError(f"another file holds a pod named {pod.key} too")
                found[pod.key] = pod
            except (OSError, ManifestError) as error:
                problems[path.name] = str(error)
        for name, problem in problems.items():
            if self._told.get(name) != problem:
                log.error("static pod %s is not run: %s", self._directory / name, problem)
        self._told = problems
        return found

    def _converge(self) -> bool:
        """Starts what has a file, ends what has none any more. False while an old pod is in a new one's way."""
        ending = set()
        for state in self._table:
            if not state.static or state.pod is None or state.uid in self.uids():
                continue
            ending.add(state.key)
            if state.pod.metadata.deletion_timestamp is None:
                self._pods.desire(ended(state.pod), static=True)
            elif state.cleaned:
                state.deleted = True
                self._pods.queue.add(state.uid)
        for key, pod in self._wanted.items():
            if key not in ending and self._table.by_uid(pod.metadata.uid) is None:
                self._pods.desire(pod, static=True)
        return not ending

    async def _mirror(self) -> bool:
        """Brings the mirrors up to date. False if there is more to do."""
        if not self._informer.has_synced:
            return False
        running = {state.uid for state in self._table if state.static}
        plan = plan_mirrors(self._wanted, running, self._informer)
        for state in self._table:
            if state.static and state.mirror_uid != (shown := plan.shown.get(state.uid, "")):
                self._pods.show_as(state, shown)
        try:
            for mirror in plan.delete:
                await self._delete(mirror)
            for pod in plan.create:
                await self._create(pod)
        except (ApiError, OSError) as error:
            if self._told.get("") != str(error):
                log.warning("static pods cannot be shown at the API, trying again: %s", error)
            self._told[""] = str(error)
            return False
        return not plan.delete and not plan.create

    async def _delete(self, mirror: Pod) -> None:
        meta = mirror.metadata
        with contextlib.suppress(NotFound, Conflict):
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid, grace_period_seconds=0)

    async def _create(self, pod: Pod) -> None:
        node = await self._client.get(Node, self._node_name)
        with contextlib.suppress(AlreadyExists):
            await self._client.create_tree(Pod.resource, mirror_of(pod, node), pod.namespace)
