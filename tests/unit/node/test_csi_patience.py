"""Work that goes on by itself: its outcome is there when one comes back, and it ends when it may."""

from __future__ import annotations

import asyncio

import pytest

from pilothouse.node.csi import patience
from pilothouse.node.csi.patience import NotYet, Patience

KEY = ("uid", "mount")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.01)


async def test_the_outcome_is_there_when_one_comes_back() -> None:
    gate, told, starts = asyncio.Event(), asyncio.Queue[str](), 0

    async def work() -> int:
        nonlocal starts
        starts += 1
        await gate.wait()
        return starts

    held: Patience[int] = Patience(told.put_nowait)
    for _ in range(3):
        with pytest.raises(NotYet):
            await held.outcome(KEY, work)
    gate.set()
    assert await told.get() == "uid"
    assert await held.outcome(KEY, work) == 1
    # What is asked for after that is done anew, and told to nobody who waits for it.
    assert await held.outcome(KEY, work) == 2
    assert told.empty()


async def test_a_failure_is_raised_to_whoever_comes_back() -> None:
    gate, told = asyncio.Event(), asyncio.Queue[str]()

    async def work() -> None:
        await gate.wait()
        raise ValueError("no")

    held: Patience[None] = Patience(told.put_nowait)
    with pytest.raises(NotYet):
        await held.outcome(KEY, work)
    gate.set()
    await told.get()
    with pytest.raises(ValueError, match="no"):
        await held.outcome(KEY, work)


async def test_what_has_to_come_to_an_end_does_before_it_counts_as_ended() -> None:
    gate, told, ended = asyncio.Event(), asyncio.Queue[str](), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await gate.wait()
            ended.append("work")
            raise

    held: Patience[None] = Patience(told.put_nowait)
    with pytest.raises(NotYet):
        await held.outcome(KEY, work)
    for _ in range(2):
        with pytest.raises(NotYet):
            await held.cancel("uid")
    await held.cancel("another")
    assert ended == []
    gate.set()
    await told.get()
    await held.cancel("uid")
    assert ended == ["work"]
