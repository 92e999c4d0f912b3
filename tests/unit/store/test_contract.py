"""What every store driver owes; each test runs against all of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from pilothouse.store.memory import MemoryStore
from pilothouse.store.sqlite import SqliteStore
from pilothouse.store.state import PENDING_EVENTS
from pilothouse.store.store import Compacted, Event, KeyExists, RevisionMismatch, Store, WatchEnded, Watcher


def value(name: str, data: str = "") -> bytes:
    return orjson.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"x": data}})


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state.db")
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "sqlite"])
async def small(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store that keeps ten changes."""
    opened: Store = (
        MemoryStore(window_events=10)
        if request.param == "memory"
        else SqliteStore(tmp_path / "state.db", window_events=10)
    )
    yield opened
    await opened.close()


async def collect(watcher: Watcher, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        events += await watcher.next(5)
    return events


async def test_a_read_value_carries_the_revision_of_its_write(store: Store) -> None:
    first = await store.create("core/configmaps/ns/a", value("a"))
    second = await store.update("core/configmaps/ns/a", value("a", "2"), first.revision)
    assert second.revision == first.revision + 1
    record = store.get("core/configmaps/ns/a")
    assert record == second
    assert orjson.loads(second.value)["metadata"]["resourceVersion"] == str(second.revision)


async def test_create_of_an_existing_key_is_refused(store: Store) -> None:
    await store.create("core/configmaps/ns/a", value("a"))
    with pytest.raises(KeyExists):
        await store.create("core/configmaps/ns/a", value("a"))


async def test_of_concurrent_writes_on_one_revision_exactly_one_succeeds(store: Store) -> None:
    created = await asyncio.gather(
        *(store.create("core/configmaps/ns/a", value("a", str(n))) for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, KeyExists) for outcome in created) == 19
    record = store.get("core/configmaps/ns/a")
    assert record is not None
    outcomes = await asyncio.gather(
        *(store.update("core/configmaps/ns/a", value("a", str(n)), record.revision) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, RevisionMismatch) for outcome in outcomes) == 19


async def test_delete_needs_the_expected_revision_and_returns_the_last_state(store: Store) -> None:
    created = await store.create("core/configmaps/ns/a", value("a", "last"))
    with pytest.raises(RevisionMismatch):
        await store.delete("core/configmaps/ns/a", created.revision + 7)
    gone = await store.delete("core/configmaps/ns/a", created.revision)
    tree = orjson.loads(gone.value)
    assert (tree["data"]["x"], tree["metadata"]["resourceVersion"]) == ("last", str(gone.revision))
    assert store.get("core/configmaps/ns/a") is None
    with pytest.raises(RevisionMismatch):
        await store.delete("core/configmaps/ns/a", gone.revision)


async def test_list_is_by_prefix_and_sorted(store: Store) -> None:
    for key in ("core/configmaps/b/1", "core/configmaps/a/2", "core/configmaps/a/1", "core/configmaps/ab/1"):
        await store.create(key, value(key))
    await store.create("core/configmapsx/a/1", value("other"))
    assert [r.key for r in store.list("core/configmaps/a/")] == ["core/configmaps/a/1", "core/configmaps/a/2"]
    assert len(store.list("core/configmaps/")) == 4


async def test_list_at_an_earlier_revision(store: Store) -> None:
    a = await store.create("core/configmaps/ns/a", value("a", "1"))
    b = await store.create("core/configmaps/ns/b", value("b", "1"))
    at = store.revision
    await store.update("core/configmaps/ns/a", value("a", "2"), a.revision)
    await store.delete("core/configmaps/ns/b", b.revision)
    await store.create("core/configmaps/ns/c", value("c"))
    assert store.list_at("core/configmaps/", at) == [a, b]
    assert [r.key for r in store.list_at("core/configmaps/", store.revision)] == [
        "core/configmaps/ns/a",
        "core/configmaps/ns/c",
    ]


async def test_watch_yields_every_change_in_order_with_its_previous_state(store: Store) -> None:
    watcher = store.watch("core/configmaps/ns/", store.revision)
    a = await store.create("core/configmaps/ns/a", value("a", "1"))
    await store.create("core/configmaps/other/a", value("a", "1"))
    b = await store.update("core/configmaps/ns/a", value("a", "2"), a.revision)
    gone = await store.delete("core/configmaps/ns/a", b.revision)
    events = await collect(watcher, 3)
    assert [(e.revision, e.deleted, e.previous) for e in events] == [
        (a.revision, False, None),
        (b.revision, False, a),
        (gone.revision, True, b),
    ]
    assert events[2].value == gone.value


async def test_watch_from_an_earlier_revision_replays(store: Store) -> None:
    records = [await store.create(f"core/configmaps/ns/{n}", value(str(n))) for n in range(5)]
    watcher = store.watch("core/configmaps/", records[1].revision)
    assert [e.revision for e in await collect(watcher, 3)] == [r.revision for r in records[2:]]


async def test_watch_times_out_empty_and_ends_when_closed(store: Store) -> None:
    watcher = store.watch("core/configmaps/", store.revision)
    assert await watcher.next(0.01) == []
    watcher.close()
    with pytest.raises(WatchEnded):
        await watcher.next()


async def test_closing_the_store_ends_watches(store: Store) -> None:
    watcher = store.watch("core/configmaps/", store.revision)
    waiting = asyncio.ensure_future(watcher.next())
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(WatchEnded):
        await waiting


async def test_revisions_older_than_the_window_are_compacted(small: Store) -> None:
    for n in range(30):
        await small.create(f"core/configmaps/ns/{n}", value(str(n)))
    assert small.compacted == 20
    with pytest.raises(Compacted):
        small.watch("core/configmaps/", 19)
    with pytest.raises(Compacted):
        small.list_at("core/configmaps/", 19)
    assert len(await collect(small.watch("core/configmaps/", 20), 10)) == 10


async def test_a_slow_watcher_is_cut(store: Store) -> None:
    watcher = store.watch("core/configmaps/", store.revision)
    await asyncio.gather(*(store.create(f"core/configmaps/ns/{n}", value("")) for n in range(PENDING_EVENTS + 1)))
    with pytest.raises(WatchEnded):
        await watcher.next()


async def test_a_write_that_many_wait_for_leaves_others_their_turn(store: Store) -> None:
    turn, woken = 0, Counter[int]()

    async def read(watcher: Watcher) -> None:
        (event,) = await watcher.next()
        assert event.key == "core/configmaps/ns/a"
        woken[turn] += 1

    readers = [asyncio.create_task(read(store.watch("core/configmaps/", store.revision))) for _ in range(1000)]
    await asyncio.sleep(0)
    write = asyncio.create_task(store.create("core/configmaps/ns/a", value("a")))
    while not all(reader.done() for reader in readers):
        turn += 1
        await asyncio.sleep(0)
    await asyncio.gather(write, *readers)
    assert woken.total() == 1000
    assert max(woken.values()) <= 64


async def test_a_wait_ends_at_its_own_time_whatever_the_wait_before_it_had(store: Store) -> None:
    watcher = store.watch("core/configmaps/", store.revision)
    loop = asyncio.get_running_loop()
    for number, (before, after) in enumerate([(3600.0, 0.02), (0.02, 3600.0), (0.02, None)]):
        waiting = asyncio.create_task(watcher.next(before))
        await asyncio.sleep(0)
        await store.create(f"core/configmaps/ns/{number}", value("a"))
        assert len(await waiting) == 1
        passed = asyncio.Event()
        loop.call_later(0.05, passed.set)
        again = asyncio.create_task(watcher.next(after))
        await passed.wait()
        assert again.done() is (after == 0.02)
        if not again.done():
            await store.create(f"core/configmaps/ns/{number}-again", value("a"))
        assert len(await asyncio.wait_for(again, 5)) == (after != 0.02)


async def test_changed_is_per_collection(store: Store) -> None:
    record = await store.create("core/configmaps/ns/a", value("a"))
    await store.create("core/secrets/ns/a", value("a"))
    assert store.changed("core/configmaps/") == record.revision
    assert store.changed("core/pods/") == 0
