"""A backup as one file: a gzipped tar of what cannot be made again, encrypted by a passphrase in the age format.

In it: config.json, pki/ (authority, signing keys, the keys that seal Secrets), what people wrote (mirrors of
registries, seccomp profiles, settings), and a consistent copy of each database. Not in it: what is made again (images,
containers, certificates of nodes), and what volumes hold, which is the applications' own to copy consistently.
`manifest.json` comes first and names every file with its SHA-256, so that a restore looks at all of it before anything
is put in place.

Format of the encryption: age-encryption.org/v1, so that `age -d` opens it as well.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pyrage

from pilothouse.launch.config import LAYOUT, Config
from pilothouse.store.database import Database

FORMAT = 1
_KEPT = ("pki", "containerd/certs.d", "seccomp", "*.yaml")
_AHEAD = 1_000_000
"""Revisions skipped by a restore: what clients saw after the backup must not come again with another meaning."""
_LEAST_PASSPHRASE = 8


class BackupError(Exception):
    """The backup cannot be made or restored; the message says why and what to do."""


class Manifest(msgspec.Struct, rename="camel", kw_only=True):
    """What a backup says of itself."""

    format: int = FORMAT
    layout: int = LAYOUT
    created: str
    data_dir: str
    node_name: str
    node_address: str
    files: dict[str, str]
    """Path below the data directory to SHA-256 in hexadecimal digits."""
    volumes: list[str] = []
    """Directories of local volumes that there were; what they held is not in the backup."""


def pack(config: Config, databases: Mapping[str, bytes], passphrase: str, now: dt.datetime) -> tuple[bytes, Manifest]:
    """The encrypted file. Raises BackupError."""
    check_passphrase(passphrase)
    root = Path(config.data_dir)
    files = {"config.json": (root / "config.json").read_bytes(), **databases}
    for kept in _KEPT:
        found = (path for top in root.glob(kept) for path in (_files(top) if top.is_dir() else (top,)))
        files.update((str(path.relative_to(root)), path.read_bytes()) for path in found)
    volumes = root / "volumes"
    manifest = Manifest(
        created=now.isoformat(timespec="seconds"),
        data_dir=config.data_dir,
        node_name=config.node_name,
        node_address=config.node_address,
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        volumes=sorted(path.name for path in volumes.iterdir()) if volumes.is_dir() else [],
    )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        for name, data in {"manifest.json": msgspec.json.encode(manifest), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(now.timestamp())
            archive.addfile(entry, io.BytesIO(data))
    return pyrage.passphrase.encrypt(packed.getvalue(), passphrase), manifest


def check_passphrase(passphrase: str) -> None:
    """Refuses one that protects nothing. Raises BackupError."""
    if len(passphrase) < _LEAST_PASSPHRASE:
        raise BackupError(
            f"the passphrase is shorter than {_LEAST_PASSPHRASE} characters: it guards every key of the cluster"
        )


def unpack(data: bytes, passphrase: str) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and files of a backup, every file compared with the manifest. Raises BackupError."""
    if not data.startswith(b"age-encryption.org/v1"):
        raise BackupError("this is no backup of Pilothouse (it is not in the age format)")
    try:
        packed = pyrage.passphrase.decrypt(data, passphrase)
    except pyrage.DecryptError as error:
        raise BackupError("the backup does not open: the passphrase is wrong, or the file is damaged") from error
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                found[_inside(entry.name)] = file.read() if file is not None else b""
        manifest = msgspec.json.decode(found.pop("manifest.json"), type=Manifest)
    except (tarfile.TarError, EOFError, OSError, KeyError, msgspec.DecodeError) as error:
        raise BackupError(f"what is in the backup cannot be read: {error}") from error
    if manifest.format != FORMAT or manifest.layout != LAYOUT:
        made = f"format {manifest.format}, layout {manifest.layout}"
        raise BackupError(f"the backup was made by another version of Pilothouse ({made}): restore it with that one")
    if {name: hashlib.sha256(content).hexdigest() for name, content in found.items()} != manifest.files:
        raise BackupError("what is in the backup is not what its manifest names: it is damaged; use another one")
    return manifest, found


def restore(manifest: Manifest, files: Mapping[str, bytes], data_dir: Path) -> None:
    """Puts the files in place; `data_dir` must be empty or absent. All or nothing. Raises BackupError."""
    if str(data_dir) != manifest.data_dir:
        raise BackupError(
            f"the backup is of {manifest.data_dir}, and volumes know it by that path: restore it there "
            f"(--data-dir {manifest.data_dir})"
        )
    if data_dir.exists() and any(data_dir.iterdir()):
        raise BackupError(f"{data_dir} is not empty: `pilothouse down --purge` removes what is there")
    fresh = data_dir.with_name(f"{data_dir.name}.restoring")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(mode=0o711, parents=True)
        for name, data in files.items():
            path = fresh / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o644 if name in ("pki/ca.crt", "config.json") else 0o600)
        for database in fresh.glob("*.db"):
            check_database(database)
        _go_ahead(fresh / "state.db")
        _sync(fresh)
        _put(fresh, data_dir)
    except OSError as error:
        raise BackupError(f"nothing was restored: {error.filename or data_dir}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_database(path: Path) -> None:
    """Has SQLite look through a database. Raises BackupError."""
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        try:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            database.close()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise BackupError(f"{path.name} in the backup is damaged: {said}")


def _go_ahead(path: Path) -> None:
    database = Database(path)
    try:
        database.compact_to(database.compacted() + _AHEAD)
    finally:
        database.close()


def _put(fresh: Path, data_dir: Path) -> None:
    """In one step where the directory can be replaced; a mount point is filled instead, config.json last."""
    if not data_dir.is_mount():
        os.replace(fresh, data_dir)
        return
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == "config.json"):
        shutil.move(path, data_dir / path.name)


def _sync(folder: Path) -> None:
    for path in [*_files(folder), *(entry for entry in folder.rglob("*") if entry.is_dir()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _inside(name: str) -> str:
    """A path that stays below the data directory. Raises BackupError."""
    if name.startswith("/") or ".." in name.split("/"):
        raise BackupError(f"the backup names a file outside the data directory: {name}")
    return name
