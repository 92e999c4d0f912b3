"""`pilothouse backup FILE` and `pilothouse restore FILE`."""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import os
import sys
from pathlib import Path

import orjson
import typer

from pilothouse.apiserver.snapshots import SNAPSHOTS
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.launch.backup import BackupError, check_passphrase, pack, restore, unpack
from pilothouse.launch.config import ConfigError, load
from pilothouse.launch.pki import write_private
from pilothouse.machinery.errors import ApiError

VARIABLE = "PILOTHOUSE_PASSPHRASE"


def run_backup(file: str, data_dir: str, passphrase_file: str | None) -> None:
    """Writes the backup while everything goes on."""
    _as_root("backup")
    try:
        config = load(data_dir)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    if config is None or not config.is_server:
        raise CommandError(f"the API does not run on {data_dir}: make the backup on the machine where it does")
    target = Path(file).absolute()
    if not target.parent.is_dir():
        raise CommandError(f"there is no folder {target.parent}")
    passphrase = _passphrase(passphrase_file, twice=True)
    try:
        check_passphrase(passphrase)
        databases = asyncio.run(_databases(data_dir))
        data, manifest = pack(config, databases, passphrase, dt.datetime.now(dt.UTC))
        write_private(target, data)
    except (ApiError, BackupError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename or target}: {error.strerror}") from error
    typer.echo(f"{target}: {len(data) >> 10} KiB, {len(manifest.files)} files, encrypted by the passphrase")
    if manifest.volumes:
        typer.echo(f"Not in it: what {len(manifest.volumes)} volumes in {config.path('volumes')} hold.")
        typer.echo("Copy that by the applications' own tools.")


def run_restore(file: str, data_dir: str, passphrase_file: str | None) -> None:
    """Puts a backup into an empty data directory."""
    _as_root("restore")
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    passphrase = _passphrase(passphrase_file, twice=False)
    place = Path(data_dir).absolute()
    try:
        manifest, files = unpack(data, passphrase)
        restore(manifest, files, place)
    except BackupError as error:
        raise CommandError(str(error)) from error
    typer.echo(f"Restored what {manifest.node_name} was at {manifest.created} to {place}.")
    if manifest.volumes:
        typer.echo(f"Volumes come back empty unless you put their data into {place / 'volumes'} before the start:")
        for name in manifest.volumes:
            typer.echo(f"  {name}")
    typer.echo("Start it: pilothouse up --background")
    typer.echo(f"Where the machine's address is not {manifest.node_address}, add --node-address ADDRESS.")


async def _databases(data_dir: str) -> dict[str, bytes]:
    client = connect(data_dir)
    try:
        names = orjson.loads(await client.request("GET", SNAPSHOTS))["snapshots"]
        return {name: await client.request("GET", f"{SNAPSHOTS}/{name}") for name in names}
    finally:
        await client.close()


def _as_root(command: str) -> None:
    if os.geteuid() != 0:
        raise CommandError(f"pilothouse {command} must be run as root (it reads every key of the cluster): use sudo")


def _passphrase(file: str | None, twice: bool) -> str:
    """From the file, the environment, or the terminal. Raises CommandError."""
    if file is not None:
        try:
            return Path(file).read_text().rstrip("\n")
        except OSError as error:
            raise CommandError(f"--passphrase-file {file}: {error.strerror}") from error
    if given := os.environ.get(VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise CommandError(f"no passphrase: name --passphrase-file, or set {VARIABLE}")
    passphrase = getpass.getpass("Passphrase: ")
    if twice and getpass.getpass("Once more: ") != passphrase:
        raise CommandError("the two are not the same")
    return passphrase
