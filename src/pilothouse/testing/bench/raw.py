"""The floor: pods made by CRI calls alone, with the very messages the node would send."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from pilothouse.kinds.core.pod import Container, Pod, PodSpec
from pilothouse.kinds.view import ObjectMeta
from pilothouse.launch.config import Config
from pilothouse.node.cri import Runtime
from pilothouse.node.names import Resolver
from pilothouse.node.resources import cgroup_parent
from pilothouse.node.runtime_config import Placement, container_config, sandbox_config
from pilothouse.node.security import ImageUser

COMMAND = ["/usr/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]
"""What every measured container runs; it ends at once when told to."""


@dataclass(slots=True)
class RawPods:
    """Makes and removes pods on the engine's own containerd, past the engine."""

    config: Config
    runtime: Runtime
    image: str

    def _pod(self) -> Pod:
        name = f"raw-{uuid.uuid4().hex[:8]}"
        spec = PodSpec(containers=[Container(name="c", image=self.image, command=COMMAND)])
        return Pod(metadata=ObjectMeta(name=name, namespace="default", uid=str(uuid.uuid4())), spec=spec)

    def _placement(self, pod: Pod) -> Placement:
        return Placement(
            domain=self.config.domain,
            log_root=str(self.config.path("rawlogs")),
            cgroup_parent=cgroup_parent(self.config.cgroup_root, pod),
            memory_capacity=1 << 32,
        )

    async def make(self) -> str:
        """Sandbox, container, start; returns the sandbox's id."""
        pod = self._pod()
        placement = self._placement(pod)
        image, _ = await self.runtime.image_status(self.image)
        assert image is not None
        sandbox = sandbox_config(pod, 0, Resolver((self.config.dns_address,)), placement)
        container = container_config(
            pod,
            pod.spec.containers[0],
            0,
            image_id=image.id,
            image_ref=image.id,
            image_user=ImageUser(uid=10001),
            environment={},
            mounts=[],
            placement=placement,
        )
        # Without the pod's labels no node takes it for one of its own.
        sandbox.labels.clear()
        container.labels.clear()
        sandbox_id = await self.runtime.run_sandbox(sandbox)
        container_id = await self.runtime.create_container(sandbox_id, container, sandbox)
        await self.runtime.start_container(container_id)
        return sandbox_id

    async def remove(self, sandbox_id: str) -> None:
        """Stops and removes it."""
        await self.runtime.stop_sandbox(sandbox_id)
        await self.runtime.remove_sandbox(sandbox_id)

    async def one(self) -> float:
        """Seconds to make one pod."""
        return (await self.start_and_stop())[0]

    async def start_and_stop(self) -> tuple[float, float]:
        """Seconds to make one pod, and to stop and remove it."""
        began = time.perf_counter()
        sandbox_id = await self.make()
        took = time.perf_counter() - began
        began = time.perf_counter()
        await self.remove(sandbox_id)
        return took, time.perf_counter() - began

    async def many(self, count: int) -> float:
        """Seconds to make `count` pods, all asked for at once."""
        began = time.perf_counter()
        made = await asyncio.gather(*(self.make() for _ in range(count)))
        took = time.perf_counter() - began
        for start in range(0, count, 10):
            await asyncio.gather(*(self.remove(sandbox_id) for sandbox_id in made[start : start + 10]))
        return took
