"""Backups: everything comes back as it was, nothing is told without the passphrase, and what is damaged is refused."""

import datetime as dt
from pathlib import Path

import pytest

from pilothouse.launch.backup import BackupError, pack, restore, unpack
from pilothouse.launch.config import Config
from pilothouse.store.database import Database, Row

NOW = dt.datetime(2026, 5, 4, 3, 2, 1, tzinfo=dt.UTC)
PASSPHRASE = "keel, mast and rudder"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(data_dir=str(tmp_path / "data"), node_name="one", node_address="192.0.2.9")
    (tmp_path / "data" / "pki").mkdir(parents=True)
    (tmp_path / "data" / "volumes" / "pvc-1").mkdir(parents=True)
    (tmp_path / "data" / "pki" / "ca.pem").write_text("the authority")
    (tmp_path / "data" / "owners.yaml").write_text("owners: []")
    (tmp_path / "data" / "seccomp").mkdir()
    (tmp_path / "data" / "seccomp" / "tight.json").write_text("{}")
    made.save()
    return made


@pytest.fixture
def state(tmp_path: Path) -> bytes:
    """A store's file with one object."""
    database = Database(tmp_path / "copy.db")
    row = Row(7, "core/configmaps/a/b", b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"b"}}', 0)
    database.commit([row], (), 0)
    database.compact_to(9)
    database.close()
    return (tmp_path / "copy.db").read_bytes()


def packed(config: Config, state: bytes) -> bytes:
    return pack(config, {"state.db": state}, PASSPHRASE, NOW)[0]


def test_all_comes_back(config: Config, state: bytes, tmp_path: Path) -> None:
    data = packed(config, state)
    root = Path(config.data_dir)
    kept = (root / "config.json").read_bytes()
    root.rename(tmp_path / "lost")
    manifest, files = unpack(data, PASSPHRASE)
    assert (manifest.node_name, manifest.created, manifest.volumes) == ("one", "2026-05-04T03:02:01+00:00", ["pvc-1"])
    restore(manifest, files, root)
    assert (root / "config.json").read_bytes() == kept
    assert (root / "pki" / "ca.pem").read_text() == "the authority"
    assert (root / "pki" / "ca.pem").stat().st_mode & 0o777 == 0o600
    assert (root / "owners.yaml").read_text() == "owners: []"
    assert (root / "seccomp" / "tight.json").read_text() == "{}"
    database = Database(root / "state.db")
    assert [row.key for row in database.rows()] == ["core/configmaps/a/b"]
    assert database.compacted() > 1_000_000  # no revision that a client may have seen comes again
    database.close()


def test_nothing_is_told_without_the_passphrase(config: Config, state: bytes) -> None:
    data = packed(config, state)
    assert b"the authority" not in data
    with pytest.raises(BackupError, match="passphrase is wrong"):
        unpack(data, PASSPHRASE + "s")
    with pytest.raises(BackupError, match="shorter than 8"):
        pack(config, {}, "short", NOW)


@pytest.mark.parametrize("place", [30, -1, 0.5])
def test_a_damaged_file_is_refused(config: Config, state: bytes, place: float) -> None:
    data = bytearray(packed(config, state))
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 1
    with pytest.raises(BackupError):
        unpack(bytes(data), PASSPHRASE)
    with pytest.raises(BackupError):
        unpack(packed(config, state)[:-100], PASSPHRASE)


def test_another_file_is_refused() -> None:
    with pytest.raises(BackupError, match="no backup of Pilothouse"):
        unpack(b"PK\x03\x04", PASSPHRASE)


def test_what_is_there_is_never_overwritten(config: Config, state: bytes) -> None:
    manifest, files = unpack(packed(config, state), PASSPHRASE)
    with pytest.raises(BackupError, match=r"not empty.*--purge"):
        restore(manifest, files, Path(config.data_dir))


def test_another_place_is_refused(config: Config, state: bytes, tmp_path: Path) -> None:
    manifest, files = unpack(packed(config, state), PASSPHRASE)
    with pytest.raises(BackupError, match=f"--data-dir {config.data_dir}"):
        restore(manifest, files, tmp_path / "elsewhere")


def test_a_damaged_database_leaves_nothing_behind(config: Config, state: bytes, tmp_path: Path) -> None:
    manifest, files = unpack(packed(config, state), PASSPHRASE)
    Path(config.data_dir).rename(tmp_path / "lost")
    broken = {**files, "state.db": state[:5000]}
    with pytest.raises(BackupError, match=r"state\.db in the backup is damaged"):
        restore(manifest, broken, Path(config.data_dir))
    assert not Path(config.data_dir).exists()
    assert not Path(f"{config.data_dir}.restoring").exists()


def test_a_file_outside_the_data_directory_is_refused(config: Config, state: bytes) -> None:
    with pytest.raises(BackupError, match="outside the data directory"):
        unpack(pack(config, {"../state.db": state}, PASSPHRASE, NOW)[0], PASSPHRASE)


def test_a_backup_of_another_version_is_refused(config: Config, state: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(config, state)
    monkeypatch.setattr("pilothouse.launch.backup.LAYOUT", 2)
    with pytest.raises(BackupError, match="another version"):
        unpack(data, PASSPHRASE)
