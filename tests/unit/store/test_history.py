"""Against a model: every state the window reaches can be listed again, and a watch leads from one to the next."""

import asyncio
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.store.memory import MemoryStore
from pilothouse.store.sqlite import SqliteStore
from pilothouse.store.store import Compacted, Store

PREFIX = "core/configmaps/"
Steps = list[tuple[str, int]]
STEPS = st.lists(st.tuples(st.sampled_from(["put", "delete", "reopen"]), st.integers(0, 3)), max_size=40)


def value(n: int) -> bytes:
    return orjson.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "n": n})


async def run(steps: Steps, directory: Path | None) -> None:
    def opened() -> Store:
        return MemoryStore(window_events=8) if directory is None else SqliteStore(directory / "s.db", window_events=8)

    store = opened()
    states: dict[int, dict[str, bytes]] = {0: {}}
    current: dict[str, bytes] = {}
    for count, (step, number) in enumerate(steps):
        key = f"{PREFIX}ns/{number}"
        held = store.get(key)
        if step == "reopen":
            if directory is not None:
                await store.close()
                store = opened()
            continue
        if step == "put":
            record = await (store.update(key, value(count), held.revision) if held else store.create(key, value(count)))
            current = {**current, key: record.value}
        elif held is not None:
            await store.delete(key, held.revision)
            current = {k: v for k, v in current.items() if k != key}
        states[store.revision] = current
    for revision, state in states.items():
        if revision < store.compacted:
            with pytest.raises(Compacted):
                store.watch(PREFIX, revision)
            continue
        assert {r.key: r.value for r in store.list_at(PREFIX, revision)} == state
        if revision < store.revision:
            replayed = dict(state)
            for event in await store.watch(PREFIX, revision).next(1):
                previous = event.previous.value if event.previous else None
                assert replayed.get(event.key) == previous
                if event.deleted:
                    del replayed[event.key]
                else:
                    replayed[event.key] = event.value
            assert replayed == states[store.revision]
    await store.close()


@given(STEPS)
def test_memory(steps: Steps) -> None:
    asyncio.run(run(steps, None))


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_sqlite_with_restarts(steps: Steps) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(steps, Path(directory)))
