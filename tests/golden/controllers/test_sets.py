"""Every step of StatefulSets and DaemonSets as text. `GOLDEN=write` writes the files anew, to be reviewed as a diff."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from set_worlds import DaemonWorld, StatefulWorld

HERE = Path(__file__).parent
CLAIM = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def stateful_ordered() -> str:
    world = StatefulWorld(3, volumeClaimTemplates=[CLAIM])
    text = told("create", world)
    world.set_image("db:2")
    text += told("update", world)
    world.change(replicas=1)
    return text + told("scale down", world)


def stateful_broken() -> str:
    world = StatefulWorld(2)
    text = told("create", world)
    world.broken = "db:broken"
    world.set_image("db:broken")
    text += told("update to a broken image", world)
    world.set_image("db:1")
    return text + told("back, the broken pod stays in the way", world)


def stateful_parallel() -> str:
    world = StatefulWorld(4, podManagementPolicy="Parallel", updateStrategy=_rolling(partition=1, maxUnavailable=2))
    text = told("create", world)
    world.set_image("db:2")
    return text + told("update two at a time down to the partition", world)


def daemon_rolling() -> str:
    world = DaemonWorld("a", "b", "c", updateStrategy=_rolling(maxUnavailable=2, maxSurge=0))
    text = told("create", world)
    world.set_image("agent:2")
    text += told("update", world)
    world.nodes.remove("b")
    return text + told("a node is no longer eligible", world)


def daemon_surge() -> str:
    world = DaemonWorld("a", "b", updateStrategy=_rolling(maxUnavailable=0, maxSurge=1))
    text = told("create", world)
    world.set_image("agent:2")
    return text + told("update", world)


def _rolling(**amounts: int) -> dict[str, object]:
    return {"type": "RollingUpdate", "rollingUpdate": amounts}


def told(title: str, world: StatefulWorld | DaemonWorld) -> str:
    steps = [f"## {title}"]
    steps += [f"{number}.\n{text}" for number, text in enumerate(world.run(), 1)]
    return "\n".join(steps) + "\n\n"


@pytest.mark.parametrize(
    "scenario", [stateful_ordered, stateful_broken, stateful_parallel, daemon_rolling, daemon_surge]
)
def test_sets(scenario: Callable[[], str]) -> None:
    path = HERE / f"{scenario.__name__}.txt"
    text = scenario()
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
