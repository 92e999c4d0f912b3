"""Every step of typical rollouts as text. `GOLDEN=write` writes the files anew, to be reviewed as a diff."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rollout_world import World

HERE = Path(__file__).parent


def rolling() -> str:
    world = World(4, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}})
    text = told("create", world)
    world.set_image("web:2")
    text += told("update", world)
    world.set_image("web:1")
    return text + told("undo", world)


def recreate() -> str:
    world = World(2, strategy={"type": "Recreate"})
    text = told("create", world)
    world.set_image("web:2")
    return text + told("update", world)


def stuck() -> str:
    world = World(3, progressDeadlineSeconds=60)
    text = told("create", world)
    world.set_image("web:broken")
    text += told("update that never becomes ready", world, ready=False)
    world.now += dt.timedelta(seconds=62)
    return text + told("a minute later", world, ready=False)


def paused_and_scaled() -> str:
    world = World(4, strategy={"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}})
    text = told("create", world)
    world.set_image("web:2")
    world.settle()
    world.sync()
    world.settle(ready=False)
    world.change(paused=True, replicas=10)
    text += told("paused in the middle and scaled to 10", world)
    world.change(paused=False)
    return text + told("resumed", world)


def told(title: str, world: World, *, ready: bool = True) -> str:
    steps = [f"## {title}"]
    for number, plan in enumerate(world.run(ready=ready), 1):
        steps.append(f"{number}.\n{plan.text()}")
    return "\n".join(steps) + "\n\n"


@pytest.mark.parametrize("scenario", [rolling, recreate, stuck, paused_and_scaled])
def test_rollout(scenario: Callable[[], str]) -> None:
    path = HERE / f"{scenario.__name__}.txt"
    text = scenario()
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
