"""Eviction as text: what is left and what pods use go in; conditions, order and messages come out.

`PILOTHOUSE_UPDATE_GOLDEN=1 pytest tests/golden/node` writes the file anew; its difference is then reviewed.
"""

from __future__ import annotations

import os
from pathlib import Path

from pilothouse.node.eviction.decide import History, judge
from pilothouse.node.eviction.rank import ContainerUse, PodUse, Space, candidates, message
from pilothouse.node.eviction.signals import (
    IMAGEFS,
    MEMORY,
    NODEFS,
    NODEFS_INODES,
    PIDS,
    Observation,
    Threshold,
    thresholds,
)
from pilothouse.node.settings import Settings

GOLDEN = Path(__file__).parent / "evictions.txt"
MI = 1 << 20
NOW = 1_800_000_000.0


def pod(name: str, priority: int = 0, memory: int = 0, asked: int = 0, disk: int = 0, **more: int) -> PodUse:
    """Sizes in Mi; `asked` is requested of memory and of disk."""
    container = ContainerUse(
        "c",
        memory * MI,
        Space(disk * MI // 2, 10),
        Space(disk * MI // 4, 1),
        asked * MI,
        asked * MI,
    )
    requests = {"memory": asked * MI, "ephemeral-storage": asked * MI}
    volumes = Space(disk * MI // 4, more.get("inodes", 5))
    processes = more.get("processes", 1)
    return PodUse(name, f"ns/{name}", priority, False, memory * MI, processes, volumes, (container,), requests)


PODS = [
    pod("within its request", memory=900, asked=1000, disk=10),
    pod("best effort, small", memory=10, disk=400, processes=3000),
    pod("best effort, large", memory=400, disk=20, inodes=90_000),
    pod("over, but important", priority=1000, memory=2000, asked=100, disk=900),
    pod("over by little", memory=150, asked=100, disk=150),
    pod("system critical", priority=2_000_000_000, memory=9000, disk=9000, processes=9000),
]
LOOKS: list[tuple[str, dict[str, tuple[int, int]]]] = [
    ("all is well", {MEMORY: (8000, 4000), NODEFS: (1000, 500)}),
    ("memory is short", {MEMORY: (8000, 99), NODEFS: (1000, 500)}),
    ("memory is back, the minimum is not", {MEMORY: (8000, 110), NODEFS: (1000, 500)}),
    ("the minimum is back", {MEMORY: (8000, 151), NODEFS: (1000, 500)}),
    ("six minutes later", {MEMORY: (8000, 4000), NODEFS: (1000, 500)}),
    ("softly short of disk", {MEMORY: (8000, 4000), NODEFS: (1000, 180)}),
    ("still so after its grace", {MEMORY: (8000, 4000), NODEFS: (1000, 180)}),
    ("short of both", {MEMORY: (8000, 10), NODEFS: (1000, 10)}),
]
PAUSES = [0, 10, 10, 10, 360, 10, 90, 10]


def over_time() -> list[str]:
    settings = Settings(
        eviction_soft={NODEFS: "20%"},
        eviction_soft_grace_period={NODEFS: 60.0},
        eviction_minimum_reclaim={MEMORY: "50Mi"},
    )
    history, now, lines = History(), NOW, []
    for (what, given), pause in zip(LOOKS, PAUSES, strict=True):
        now += pause
        observed = {signal: Observation(of * MI, left * MI) for signal, (of, left) in given.items()}
        judgement = judge(settings.thresholds(), observed, history, now, settings.eviction_pressure_transition_period)
        history = judgement.history
        due = judgement.due
        act = f"act on {due.signal}{'' if due.hard else ', softly'}" if due else "nothing to do"
        lines.append(f"{what}: [{' '.join(sorted(judgement.conditions))}] {act}")
    return lines


def order(signal: str) -> list[str]:
    threshold = next(t for t in Settings().thresholds() if t.signal == signal)
    observed = Observation(8000 * MI, 50 * MI)
    lines = [f"short of {signal}"]
    for number, victim in enumerate(candidates(signal, PODS, separate_images=False), 1):
        lines.append(f"  {number}. {victim.name}")
        lines.append(f"     {message(threshold, victim, observed)}")
    return lines


def test_evictions() -> None:
    sections = [over_time(), *(order(signal) for signal in (MEMORY, NODEFS, NODEFS_INODES, PIDS))]
    text = "\n\n".join("\n".join(lines) for lines in sections) + "\n"
    if os.environ.get("PILOTHOUSE_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_images_of_their_own() -> None:
    """A file system for images alone holds the containers' layers; the node's holds logs and volumes."""
    layer = PodUse("layer", "ns/layer", containers=(ContainerUse("c", writable=Space(100)),))
    logs = PodUse("logs", "ns/logs", containers=(ContainerUse("c", logs=Space(50)),))

    def first(signal: str) -> str:
        return candidates(signal, [layer, logs], separate_images=True)[0].uid

    assert (first(NODEFS), first(IMAGEFS)) == ("logs", "layer")


def test_thresholds_of_zero_and_of_all_are_off() -> None:
    found: tuple[Threshold, ...] = thresholds({NODEFS: "0%", IMAGEFS: "100%"}, {}, {}, {}, allocatable=False)
    assert found == ()
