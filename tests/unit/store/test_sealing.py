"""Secrets in the file: sealed, bound to their object, sealed anew under another key, refused without theirs."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.store.database import Database, DataDirectoryError, Row
from pilothouse.store.sealing import Sealer, SealError, is_sealed
from pilothouse.store.sqlite import SqliteStore

OLD, NEW = b"o" * 32, b"n" * 32
KEY = "core/secrets/shop/redis"
WORD = "harbour-lights"


def value(name: str, data: str = WORD) -> bytes:
    return orjson.dumps({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "data": {"x": data}})


def stored(path: Path) -> list[bytes]:
    """Values as they are in the file."""
    database = Database(path)
    try:
        return [bytes(row[0]) for row in database._db.execute("SELECT value FROM log WHERE value NOT NULL")]
    finally:
        database.close()


def everything(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_what_was_sealed_opens_as_it_was(data: bytes, name: str) -> None:
    sealer = Sealer([NEW])
    key = f"core/secrets/{name}"
    sealed = sealer.seal(key, b"{" + data)
    assert is_sealed(sealed)
    assert sealer.open(key, sealed) == b"{" + data
    assert sealer.seal(key, b"{" + data) != sealed


def test_only_secrets_are_sealed() -> None:
    assert Sealer([NEW]).seal("core/configmaps/ns/a", b"{}") == b"{}"


def test_a_sealed_value_is_bound_to_its_object_and_its_key() -> None:
    sealed = Sealer([OLD]).seal(KEY, b"{}")
    with pytest.raises(SealError, match="changed outside"):
        Sealer([OLD]).open("core/secrets/other/redis", sealed)
    with pytest.raises(SealError, match="changed outside"):
        Sealer([OLD]).open(KEY, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(SealError, match="not among the keys"):
        Sealer([NEW]).open(KEY, sealed)
    assert Sealer([NEW, OLD]).open(KEY, sealed) == b"{}"


async def test_the_file_does_not_tell_secrets(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path, sealer=Sealer([NEW]))
    record = await store.create(KEY, value("redis"))
    await store.update(KEY, value("redis", WORD + "-2"), record.revision)
    assert WORD.encode() not in everything(path)
    await store.close()
    assert all(map(is_sealed, stored(path)))
    again = SqliteStore(path, sealer=Sealer([NEW]))
    found = again.get(KEY)
    assert found is not None
    assert orjson.loads(found.value)["data"] == {"x": WORD + "-2"}
    await again.close()


async def test_secrets_of_an_older_file_are_sealed_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    await store.create(KEY, value("redis"))
    record = await store.create("core/configmaps/shop/a", value("a", "plain"))
    await store.close()
    assert WORD.encode() in everything(path)
    await (store := SqliteStore(path, sealer=Sealer([NEW]))).close()
    assert WORD.encode() not in everything(path)
    assert store.get("core/configmaps/shop/a") == record


async def test_a_new_first_key_seals_everything_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path, sealer=Sealer([OLD]))
    kept = await store.create(KEY, value("redis"))
    await store.close()
    await SqliteStore(path, sealer=Sealer([NEW, OLD])).close()
    store = SqliteStore(path, sealer=Sealer([NEW]))
    assert store.get(KEY) == kept
    await store.close()


async def test_without_the_key_the_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path, sealer=Sealer([OLD]))
    await store.create(KEY, value("redis"))
    await store.close()
    for sealer in (Sealer([NEW]), None):
        with pytest.raises(DataDirectoryError, match=r"core/secrets/shop/redis is sealed.*pki/encryption.json"):
            SqliteStore(path, sealer=sealer)


async def test_a_snapshot_is_a_store_of_what_is_current(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db", sealer=Sealer([NEW]))
    first = await store.create(KEY, value("redis"))
    kept = await store.update(KEY, value("redis", "second"), first.revision)
    gone = await store.create("core/configmaps/shop/a", value("a"))
    last = await store.delete("core/configmaps/shop/a", gone.revision)
    copy = tmp_path / "copy.db"
    assert await store.snapshot(copy) == last.revision
    after = await store.create("core/configmaps/shop/b", value("b"))
    assert after.revision == last.revision + 1
    await store.close()
    assert all(map(is_sealed, stored(copy)))
    other = SqliteStore(copy, sealer=Sealer([NEW]))
    assert (other.revision, other.list("core/configmaps/")) == (last.revision, [])
    assert other.get(KEY) == kept
    assert (await other.create("core/configmaps/shop/c", value("c"))).revision == last.revision + 1
    await other.close()


def test_a_row_is_never_sealed_twice(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db", Sealer([NEW]))
    database.commit([Row(1, KEY, value("redis"), 0)], (), 0)
    assert database.seal_again() == 0
    assert [row.value for row in database.rows()] == [value("redis")]
    database.close()
