"""A containerd of the tests' own, a node on it, and an API server in memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import orjson

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.kinds.core.event import Event
from pilothouse.kinds.core.pod import ContainerState, ContainerStatus, Pod
from pilothouse.launch.config import Config
from pilothouse.machinery.objects import Obj
from pilothouse.node.node import Node, NodeConfig
from pilothouse.testing.control_plane import ControlPlane
from pilothouse.testing.images import Recipe, archive, build

POD_RANGE = IPv4Network("10.231.1.0/24")
NODE_ADDRESS = "127.0.0.1"
NODE_NAME = "n1"
IMAGE = "example.test/busybox:1"
USER_IMAGE = "example.test/as-nobody:1"
NAMED_USER_IMAGE = "example.test/as-name:1"


@dataclass
class Runtime:
    """A containerd with its images and pod network."""

    root: Path
    config: Config
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with (self.root / "containerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["containerd", "--config", str(self.config.path("containerd", "config.toml"))],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while self.ctr("version", check=False).returncode != 0:
            assert time.monotonic() < deadline, (self.root / "containerd.log").read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end_shims(self) -> None:
        end_shims(self.root)

    def ctr(self, *words: str, data: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = ["ctr", "-a", self.config.containerd_socket, "-n", "k8s.io", *words]
        return subprocess.run(command, input=data, capture_output=True, check=check, timeout=60)

    def import_image(self, recipe: Recipe, name: str) -> None:
        self.ctr("images", "import", "-", data=archive(build(recipe), name))

    def tasks(self) -> list[tuple[str, int]]:
        """Ids and process ids of all running tasks."""
        lines = self.ctr("tasks", "ls").stdout.decode().splitlines()[1:]
        return [(words[0], int(words[1])) for line in lines if (words := line.split())]

    def remove_everything(self) -> None:
        """Ends every container and sandbox."""
        for task, pid in self.tasks():
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
            self.ctr("tasks", "rm", "-f", task, check=False)
        for name in self.ctr("containers", "ls", "-q").stdout.decode().split():
            self.ctr("containers", "rm", name, check=False)


def end_shims(root: Path) -> None:
    """Ends the shims of this containerd only: they name its socket."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and any(str(root).encode() in word for word in words):
                os.kill(int(entry.parent.name), signal.SIGKILL)


def import_images(made: Runtime) -> None:
    """Images of busybox alone: its shell runs its applets without files of their own."""
    busybox = Path("/bin/busybox").read_bytes()
    programs = {"usr/bin/busybox": busybox, "usr/bin/sh": busybox}
    for name, user in ((IMAGE, "0"), (USER_IMAGE, "65534:65534"), (NAMED_USER_IMAGE, "app")):
        made.import_image(Recipe(executables=programs, user=user), name)


@dataclass
class Cluster:
    """A node and the API server it talks to."""

    plane: ControlPlane
    client: Client
    runtime: Runtime
    node: Node | None = None
    _group: list[asyncio.Task[None]] = field(default_factory=list)

    def start_node(self, **changes: Any) -> Node:
        config = self.runtime.config
        settings: dict[str, Any] = {
            "name": NODE_NAME,
            "address": NODE_ADDRESS,
            "data_dir": self.runtime.root,
            "containerd_socket": Path(config.containerd_socket),
            "cgroup_root": config.cgroup_root,
            "cluster_dns": "10.96.0.10",
        }
        client = self.plane.client(user_agent="node")
        recorder = EventRecorder(client, "kubelet", NODE_NAME)
        self.node = Node(NodeConfig(**{**settings, **changes}), client, recorder)
        self._group = [asyncio.create_task(self.node.run()), asyncio.create_task(recorder.run())]
        return self.node

    async def stop_node(self) -> None:
        for task in self._group:
            task.cancel()
        for result in await asyncio.gather(*self._group, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, asyncio.CancelledError):
                raise result
        self._group = []

    async def create(self, name: str, spec: Obj, **metadata: Any) -> Pod:
        """A pod bound to the node."""
        for number, container in enumerate([*spec.get("containers", ()), *spec.get("initContainers", ())]):
            container.setdefault("name", f"c{number}")
            container.setdefault("image", IMAGE)
        spec.setdefault("terminationGracePeriodSeconds", 1)
        tree = {"metadata": {"name": name, **metadata}, "spec": {"nodeName": NODE_NAME, **spec}}
        await self.client.create_tree(Pod.resource, tree, "default")
        return await self.pod(name)

    async def pod(self, name: str) -> Pod:
        return await self.client.get(Pod, name, "default")

    async def container(self, name: str) -> ContainerStatus:
        """The status of the pod's first container, an empty one before there is any."""
        statuses = (await self.pod(name)).status.container_statuses
        status = statuses[0] if statuses else ContainerStatus()
        status.state, status.last_state = status.state or ContainerState(), status.last_state or ContainerState()
        return status

    async def raw(self, name: str) -> Obj:
        tree: Obj = orjson.loads(await self.client.request("GET", Pod.resource.path("default", name)))
        return tree

    async def until(self, check: Callable[[], Awaitable[Any]], what: str, seconds: float = 20.0) -> Any:
        """Waits until `check` returns something true."""
        deadline = time.monotonic() + seconds
        while True:
            value = await check()
            if value:
                return value
            if time.monotonic() > deadline:
                pods = [str((p.name, p.status)) for p in (await self.client.list(Pod, "default")).items]
                raise AssertionError(f"not within {seconds} s: {what}\n" + "\n".join(pods) + "\n" + await self.events())
            await asyncio.sleep(0.02)

    async def phase(self, name: str, phase: str, seconds: float = 20.0) -> Pod:
        async def check() -> Pod | None:
            pod = await self.pod(name)
            return pod if pod.status.phase == phase else None

        result: Pod = await self.until(check, f"{name} is {phase}", seconds)
        return result

    async def ready(self, name: str, seconds: float = 20.0) -> Pod:
        async def check() -> Pod | None:
            pod = await self.pod(name)
            return pod if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions) else None

        result: Pod = await self.until(check, f"{name} is ready", seconds)
        return result

    async def delete(self, name: str, seconds: float = 20.0, grace: int | None = None) -> None:
        await self.client.delete(Pod, name, "default", grace_period_seconds=grace)

        async def gone() -> bool:
            return await self.client.find(Pod, name, "default") is None

        await self.until(gone, f"{name} is gone", seconds)

    async def empty(self) -> bool:
        """Whether the node has no pod and the runtime no task."""
        assert self.node is not None
        return not len(self.node.pods) and not self.runtime.tasks()

    async def events(self) -> str:
        page = await self.client.list(Event, "default")
        return "\n".join(f"{e.type} {e.reason} {e.involved_object.name}: {e.message}" for e in page.items)

    def log(self, name: str, container: str = "c0", *, previous: bool = False) -> str:
        """The container's log without time and stream."""
        assert self.node is not None
        state = self.node.pods.get("default", name)
        path = Path(state.log_path(container, previous=previous)) if state is not None else Path()
        if not path.is_file():
            return ""
        return "".join(line.split(" ", 3)[3] for line in path.read_text().splitlines(keepends=True))
