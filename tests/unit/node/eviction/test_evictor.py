"""What is done when something is short: what nobody needs goes first, then one pod at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.node.eviction.evictor import Evictor
from pilothouse.node.eviction.observe import Subject
from pilothouse.node.eviction.rank import PodUse, Space
from pilothouse.node.eviction.signals import MEMORY, NODEFS, Observation
from pilothouse.node.settings import Settings
from pilothouse.node.state import ContainerState, Phase, PodState, PodTable, SandboxState
from pilothouse.node.volumes.layout import Layout
from pilothouse.testing.fake_cri import FakeRuntime

GI = 1 << 30


@dataclass
class World:
    """A host with so much left, and pods that use so much of its disk."""

    root: Path
    left: dict[str, int] = field(default_factory=lambda: {MEMORY: 8 * GI, NODEFS: 50 * GI})
    won_back: int = 0
    separate_images: bool = False
    uses: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pods = PodTable()
        self.context: Any = SimpleNamespace(
            config=SimpleNamespace(settings=Settings(), eviction_period=10.0, layout=Layout(self.root)),
            pods=self.pods,
            pressure=set(),
            runtime=FakeRuntime(),
            tell=lambda state, type, reason, message: self.told.append(f"{state.uid}: {reason}: {message}"),
            wake=lambda uid: None,
        )
        self.evictor = Evictor(self.context, self, self._win_back, lambda: self.calls.append("changed"))  # type: ignore[arg-type]

    def pod(self, uid: str, uses: int) -> PodState:
        tree = {"metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": {"containers": [{"name": "c"}]}}
        state = PodState(uid, "ns", uid, from_tree(Pod, tree), sandbox=SandboxState("s"), admitted=True)
        self.pods.add(state)
        self.uses[uid] = uses
        return state

    async def _win_back(self) -> None:
        self.calls.append("won back")
        self.left[NODEFS] += self.won_back

    def host(self) -> dict[str, Observation]:
        return {MEMORY: Observation(16 * GI, self.left[MEMORY]), NODEFS: Observation(100 * GI, self.left[NODEFS])}

    def use(self, subjects: list[Subject], *, disk: bool) -> list[PodUse]:
        return [
            PodUse(s.uid, s.uid, s.pod.spec.priority or 0, memory=self.uses[s.uid], volumes=Space(self.uses[s.uid]))
            for s in subjects
        ]

    def volumes(self, subject: Subject) -> dict[str, Space]:
        return {}

    @property
    def evicted(self) -> list[str]:
        return [state.uid for state in self.pods if state.refusal is not None]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_all_is_well(world: World) -> None:
    world.pod("a", GI)
    assert not await world.evictor.look()
    assert (world.calls, world.evicted) == ([], [])


async def test_unused_images_may_be_enough(world: World) -> None:
    state = world.pod("a", GI)
    before = ContainerState("c", "dead", phase=Phase.EXITED)
    state.previous["c"] = before
    world.left[NODEFS], world.won_back = 9 * GI, 5 * GI
    assert await world.evictor.look()
    assert world.calls == ["changed", "won back"]
    assert world.context.runtime.calls == ["RemoveContainer"]
    assert world.evicted == []
    assert world.context.pressure == {"DiskPressure"}
    assert state.previous["c"] is before


async def test_one_pod_at_a_time(world: World) -> None:
    world.pod("small", 1), world.pod("large", 9 * GI), world.pod("middle", GI)
    world.left[NODEFS] = 5 * GI
    await world.evictor.look()
    assert world.evicted == ["large"]
    assert "large: Evicted: The node was low on resource: ephemeral-storage. " in world.told[0]
    await world.evictor.look()
    assert world.evicted == ["large"]
    large = world.pods.by_uid("large")
    assert large is not None
    large.torn_down = True
    await world.evictor.look()
    assert set(world.evicted) == {"large", "middle"}


async def test_memory_is_not_won_back_from_images(world: World) -> None:
    world.pod("a", GI)
    world.left[MEMORY] = GI // 100
    await world.evictor.look()
    assert world.calls == ["changed"]
    assert world.evicted == ["a"]
    assert (world.root / "pods" / "a" / "ended.json").exists()


async def test_nearly_short_is_looked_at_again_soon(world: World) -> None:
    world.left[MEMORY] = 150 << 20
    assert await world.evictor.look()
    assert world.evicted == []


async def test_what_came_to_nothing_is_not_tried_each_second(world: World) -> None:
    state = world.pod("vital", GI)
    assert state.pod is not None
    state.pod.spec.priority = 2_000_000_000
    state.previous["c"] = ContainerState("c", "dead", phase=Phase.EXITED)
    world.left[NODEFS] = 5 * GI
    for _ in range(3):
        assert await world.evictor.look()
    assert (world.evicted, world.calls.count("won back")) == ([], 1)
    assert world.context.runtime.calls == ["RemoveContainer"]
