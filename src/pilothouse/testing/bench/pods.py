"""Pods through the API: from the request to Ready, as a client that watches sees it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.objects import Obj
from pilothouse.testing.bench.raw import COMMAND

NAMESPACE = "default"


@dataclass(slots=True)
class EnginePods:
    """Makes pods by the API and waits for them by a watch."""

    client: Client
    image: str
    pods: Informer[Pod]
    changed: asyncio.Event

    def _template(self) -> Obj:
        return {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "c", "image": self.image, "command": COMMAND}],
        }

    async def _until(self, check: Callable[[], bool], seconds: float = 120.0) -> None:
        async with asyncio.timeout(seconds):
            while not check():
                self.changed.clear()
                await self.changed.wait()

    def _ready(self, label: str) -> int:
        return sum(
            any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
            for pod in self.pods
            if pod.metadata.labels.get("bench") == label
        )

    def _left(self, label: str) -> int:
        return sum(pod.metadata.labels.get("bench") == label for pod in self.pods)

    async def ready(self, label: str, count: int) -> None:
        """Returns when that many pods of the label are Ready."""
        await self._until(lambda: self._ready(label) == count)

    async def gone(self, label: str) -> None:
        """Returns when none of the label is left."""
        await self._until(lambda: self._left(label) == 0)

    async def one(self, number: int) -> float:
        """Seconds from the request for one pod until it is Ready."""
        return (await self.start_and_stop(number))[0]

    async def start_and_stop(self, number: int) -> tuple[float, float]:
        """Seconds from the request for one pod until it is Ready, and from its deletion until it is gone."""
        label = f"one-{number}"
        tree = {"metadata": {"name": label, "labels": {"bench": label}}, "spec": self._template()}
        began = time.perf_counter()
        await self.client.create_tree(Pod.resource, tree, NAMESPACE)
        await self._until(lambda: self._ready(label) == 1)
        took = time.perf_counter() - began
        began = time.perf_counter()
        await self.client.delete(Pod, label, NAMESPACE)
        await self._until(lambda: self._left(label) == 0)
        return took, time.perf_counter() - began

    async def many(self, count: int, number: int) -> float:
        """Seconds from the request for a Deployment of `count` pods until all are Ready."""
        label = f"many-{number}"
        spec = {
            "replicas": count,
            "selector": {"matchLabels": {"bench": label}},
            "template": {"metadata": {"labels": {"bench": label}}, "spec": self._template()},
        }
        began = time.perf_counter()
        await self.client.create_tree(Deployment.resource, {"metadata": {"name": label}, "spec": spec}, NAMESPACE)
        await self._until(lambda: self._ready(label) == count)
        took = time.perf_counter() - began
        await self.client.delete(Deployment, label, NAMESPACE)
        await self._until(lambda: self._left(label) == 0)
        return took


@contextlib.asynccontextmanager
async def engine_pods(client: Client, image: str) -> AsyncIterator[EnginePods]:
    """With a watch over the namespace's pods."""
    informer: Informer[Pod] = Informer(client, Pod, namespace=NAMESPACE)
    made = EnginePods(client, image, informer, asyncio.Event())
    informer.subscribe(lambda *_: made.changed.set())
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced()
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
