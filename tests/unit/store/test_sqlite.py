"""What only the SQLite driver owes: durability, bounded size, refusals on opening, and failing writes."""

import asyncio
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.store.database import Database, DataDirectoryError, Row
from pilothouse.store.sqlite import SqliteStore
from pilothouse.store.store import RevisionMismatch


def value(name: str, data: str = "") -> bytes:
    return orjson.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"x": data}})


async def test_everything_is_as_before_after_reopening(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    a = await store.create("core/configmaps/ns/a", value("a", "1"))
    b = await store.create("core/configmaps/ns/b", value("b"))
    a2 = await store.update("core/configmaps/ns/a", value("a", "2"), a.revision)
    gone = await store.delete("core/configmaps/ns/b", b.revision)
    await store.close()

    store = SqliteStore(tmp_path / "state.db")
    assert store.revision == gone.revision
    assert store.list("core/configmaps/") == [a2]
    events = await store.watch("core/configmaps/", b.revision).next(1)
    assert [(e.revision, e.deleted, e.value, e.previous) for e in events] == [
        (a2.revision, False, a2.value, a),
        (gone.revision, True, gone.value, b),
    ]
    assert store.list_at("core/configmaps/", b.revision) == [a, b]
    assert (await store.create("core/configmaps/ns/c", value("c"))).revision == gone.revision + 1
    await store.close()


async def test_the_log_stays_proportional_to_what_is_current(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path, window_events=20)
    record = await store.create("core/configmaps/ns/a", value("a"))
    for n in range(300):
        record = await store.update("core/configmaps/ns/a", value("a", str(n)), record.revision)
        if n % 3 == 0:
            other = await store.create(f"core/configmaps/ns/x{n}", value("x"))
            await store.delete(f"core/configmaps/ns/x{n}", other.revision)
    await store.close()
    database = Database(path)
    assert len(list(database.rows())) < 45
    database.close()

    store = SqliteStore(path, window_events=20)
    assert store.list("core/configmaps/") == [record]
    assert store.compacted >= store.revision - 20
    await store.close()


async def test_the_write_ahead_log_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path, window_events=20)
    record = await store.create("core/configmaps/ns/a", value("a"))
    for _ in range(300):
        record = await store.update("core/configmaps/ns/a", value("a", "x" * 100_000), record.revision)
    assert (tmp_path / "state.db-wal").stat().st_size < 12 << 20
    assert path.stat().st_size < 24 << 20
    await store.close()


async def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await SqliteStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(DataDirectoryError, match="schema is version 99"):
        SqliteStore(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(DataDirectoryError, match="damaged or not a database"):
        SqliteStore(path)


async def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    program = (
        "import sys; from pathlib import Path; from pilothouse.store import database\n"
        "database._BUSY_SECONDS = 0\n"
        "try: database.Database(Path(sys.argv[1]))\n"
        "except database.DataDirectoryError as error: print(error)\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "state.db"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert b"another engine runs" in output
    await store.close()


async def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, orjson; from pathlib import Path\n"
        "from pilothouse.store.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(Path(sys.argv[1]))\n"
        "    async def one(n):\n"
        "        v = orjson.dumps({'kind': 'X', 'apiVersion': 'v1', 'metadata': {'name': str(n)}})\n"
        "        await store.create(f'core/xs/{n:06}', v)\n"
        "        print(n, flush=True)\n"
        "    for start in range(0, 1000000, 50):\n"
        "        await asyncio.gather(*(one(n) for n in range(start, start + 50)))\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "state.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = [int(await child.stdout.readline()) for _ in range(500)]
    child.kill()
    acknowledged += [int(line) for line in (await child.stdout.read()).split(b"\n")[:-1]]
    await child.wait()
    store = SqliteStore(path)
    held = {int(record.key.rsplit("/", 1)[1]) for record in store.list("core/xs/")}
    assert set(acknowledged) <= held
    await store.close()


async def test_a_full_disk_fails_the_write_and_all_that_builds_on_it_and_the_store_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    a = await store.create("core/configmaps/ns/a", value("a"))
    watcher = store.watch("core/configmaps/", a.revision)
    pages = store._database._db.execute("PRAGMA page_count").fetchone()[0]
    store._database._db.execute(f"PRAGMA max_page_count={pages}")
    outcomes = await asyncio.gather(
        store.update("core/configmaps/ns/a", value("a", "x" * 1_000_000), a.revision),
        store.update("core/configmaps/ns/a", value("a", "tiny"), a.revision + 1),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, ServiceUnavailable) for outcome in outcomes)
    assert "full; free space" in str(outcomes[0])
    assert "full; free space" in store.problem
    assert store.get("core/configmaps/ns/a") == a

    store._database._db.execute("PRAGMA max_page_count=1000000")
    b = await store.update("core/configmaps/ns/a", value("a", "2"), a.revision)
    assert b.revision == a.revision + 1
    assert store.problem == ""
    assert [event.revision for event in await watcher.next(1)] == [b.revision]
    await store.close()


async def test_a_create_after_one_that_failed_is_judged_by_what_is_there(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    pages = store._database._db.execute("PRAGMA page_count").fetchone()[0]
    store._database._db.execute(f"PRAGMA max_page_count={pages}")
    first = asyncio.ensure_future(store.create("core/configmaps/ns/a", value("a", "x" * 1_000_000)))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(store.create("core/configmaps/ns/a", value("a")))
    with pytest.raises(ServiceUnavailable):
        await first
    assert (await second).revision == 1
    await store.close()


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.create("core/secrets/ns/a", value("a"))
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("state.db", "state.db-wal")} == {0o600}
    await store.close()


async def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="No such file or directory"):
        SqliteStore(tmp_path / "none" / "state.db")


async def test_a_cancelled_writer_leaves_nothing_half_done(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    writing = asyncio.ensure_future(store.create("core/configmaps/ns/a", value("a")))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await store.create("core/configmaps/ns/b", value("b"))
    a = store.get("core/configmaps/ns/a")
    assert a is not None
    with pytest.raises(RevisionMismatch):
        await store.update("core/configmaps/ns/a", value("a"), a.revision + 5)
    await store.close()


async def test_many_writers_share_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "state.db")
    commits = 0
    commit = store._database.commit

    def counting(rows: Sequence[Row], dead: Sequence[int], compacted: int) -> None:
        nonlocal commits
        commits += 1
        commit(rows, dead, compacted)

    monkeypatch.setattr(store._database, "commit", counting)
    await asyncio.gather(*(store.create(f"core/configmaps/ns/{n}", value(str(n))) for n in range(1000)))
    assert commits <= 5
    await store.close()
