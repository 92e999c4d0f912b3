"""Every pass of typical Jobs as text. `GOLDEN=write` writes the files anew, to be reviewed as a diff."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from job_world import World

HERE = Path(__file__).parent


def told(title: str, world: World, passes: int = 8) -> str:
    """The passes until one changes nothing."""
    lines = [f"## {title}"]
    for number in range(1, passes + 1):
        world.catch_up()
        plan = world.sync()
        lines.append(f"{number}.\n{world.text(plan)}")
        if not (plan.status or plan.create or plan.release or plan.delete or plan.discard):
            break
    return "\n".join(lines) + "\n\n"


def completes() -> str:
    world = World(completions=3, parallelism=2)
    text = told("create", world)
    world.end("work-1")
    text += told("one succeeds", world)
    world.end("work-2", "Failed")
    text += told("one fails", world)
    world.now += dt.timedelta(seconds=10)
    text += told("ten seconds later", world)
    for name in world.running():
        world.end(name)
    text += told("all succeed", world)
    return text


def fails() -> str:
    world = World(completions=2, parallelism=2, backoffLimit=0)
    text = told("create", world)
    world.end("work-1", "Failed")
    return text + told("one fails", world)


def indexes() -> str:
    world = World(
        completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1, podReplacementPolicy="Failed"
    )
    text = told("create", world)
    world.end("work-0-1", "Failed")
    text += told("index 0 fails", world)
    world.now += dt.timedelta(seconds=10)
    text += told("ten seconds later", world)
    world.end("work-0-3", "Failed")
    text += told("it fails again", world)
    world.end("work-1-2")
    return text + told("index 1 succeeds", world)


def suspended() -> str:
    world = World(completions=2, parallelism=2, suspend=True)
    text = told("created suspended", world)
    world.tree["spec"]["suspend"] = False
    text += told("resumed", world)
    world.tree["spec"]["suspend"] = True
    return text + told("suspended", world)


def policies() -> str:
    ignore = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [40]}}
    fail = {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}}
    world = World(completions=2, parallelism=2, podFailurePolicy={"rules": [ignore, fail]})
    text = told("create", world)
    world.end("work-1", "Failed", 40)
    text += told("a failure that is ignored", world)
    world.end("work-2", "Failed", 42)
    return text + told("a failure that fails the Job", world)


def success_policy() -> str:
    rules = [{"succeededIndexes": "0"}]
    world = World(completions=3, parallelism=3, completionMode="Indexed", successPolicy={"rules": rules})
    text = told("create", world)
    world.end("work-0-1")
    return text + told("the leader succeeds", world)


@pytest.mark.parametrize("scenario", [completes, fails, indexes, suspended, policies, success_policy])
def test_jobs(scenario: Callable[[], str]) -> None:
    path = HERE / f"job_{scenario.__name__}.txt"
    text = scenario()
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
