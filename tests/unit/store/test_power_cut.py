"""The power goes at every sync, and just before it: what was acknowledged is there, and a group is whole or absent."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import apsw
import orjson
import pytest
from simulated_disk import Connection, Disk

from pilothouse.store.database import Database, DataDirectoryError, Row
from pilothouse.store.sealing import Sealer

KEY = Sealer([b"k" * 32])


def value(number: int, size: int) -> bytes:
    return orjson.dumps({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": str(number)}, "data": "x" * size})


def opened(disk: Disk) -> Database:
    return Database(Path("state.db"), KEY, connect=lambda path: cast(Any, Connection(disk)))


def work(disk: Disk, groups: int, seed: int) -> list[tuple[int, dict[int, bytes | None]]]:
    """Commits groups of writes that supersede one another; after each, the length of the disk's log, and the rows."""
    chance = random.Random(seed)
    database = opened(disk)
    rows: dict[int, bytes | None] = {}
    current: dict[str, int] = {}
    dead: list[int] = []
    done = [(len(disk.log), dict(rows))]
    revision = 0
    for _ in range(groups):
        fresh = []
        for _ in range(chance.randint(1, 6)):
            revision += 1
            key = f"core/{chance.choice(['secrets', 'configmaps'])}/ns/{chance.randint(0, 9)}"
            fresh.append(Row(revision, key, value(revision, chance.choice([10, 900, 9_000])), current.get(key, 0)))
            if key in current:
                dead.append(current[key])
            current[key] = revision
        gone = [dead.pop(0) for _ in range(min(4, max(0, len(dead) - 5)))]
        database.commit(fresh, gone, max(gone, default=0))
        rows |= {row.revision: row.value for row in fresh}
        for number in gone:
            del rows[number]
        done.append((len(disk.log), dict(rows)))
    cast(Connection, database._db).vanish()
    return done


@pytest.mark.parametrize("seed", range(4))
def test_no_acknowledged_write_is_lost(seed: int) -> None:
    disk = Disk()
    done = work(disk, 25, seed)
    points = [at for at, operation in enumerate(disk.log) if operation.kind == "sync"]
    assert len(points) >= 25  # one at least for every group: an acknowledgement without a sync proves nothing
    for at in sorted({*points, *(point + 1 for point in points)}):
        for again in range(2):
            found = _rows(disk.after_power_cut(at, random.Random(f"{seed} {at} {again}")))
            if found is None:
                assert at < done[0][0], f"after {at} operations the file does not open"
                continue
            acknowledged = (
                max(index for index, (length, _) in enumerate(done) if length <= at) if at >= done[0][0] else 0
            )
            allowed = [rows for _, rows in done[acknowledged : acknowledged + 2]]
            assert found in allowed, f"after {at} operations rows {sorted(found)} are there"


def _rows(disk: Disk) -> dict[int, bytes | None] | None:
    """What a store finds; None when the power went before there was one."""
    if not disk.files.get("state.db"):
        return None
    database = opened(disk)
    try:
        return {row.revision: row.value for row in database.rows()}
    finally:
        database.close()


def test_a_store_without_syncs_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same trial, with `synchronous=OFF`, does lose writes: it can tell."""
    disk = Disk()
    plain = Connection.execute
    monkeypatch.setattr(
        Connection, "execute", lambda self, sql, *v: plain(self, sql.replace("synchronous=FULL", "synchronous=OFF"), *v)
    )
    done = work(disk, 25, 1)
    length, acknowledged = done[-1]
    found = [_rows_or_nothing(disk.after_power_cut(length, random.Random(seed))) for seed in range(20)]
    assert any(rows != acknowledged for rows in found)


def _rows_or_nothing(disk: Disk) -> dict[int, bytes | None] | None:
    try:
        return _rows(disk)
    except (DataDirectoryError, apsw.Error):  # damaged beyond opening is lost as well
        return None
