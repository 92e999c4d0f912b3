"""`pilothouse encryption status` and `pilothouse encryption rotate`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import typer

from pilothouse.cli import output as out
from pilothouse.cli.errors import CommandError
from pilothouse.launch import runfile
from pilothouse.launch.config import Config, ConfigError, load
from pilothouse.launch.encryption import KeyRing, KeyRingError
from pilothouse.launch.stop import end_control

_SECONDS = 60.0


def run_encryption_status(data_dir: str, output: str | None) -> None:
    """Which keys seal Secrets."""
    out.check(output)
    ring = _ring(_config(data_dir))
    keys = [{"id": key.id, "created": key.created, "seals": key is ring.keys[0]} for key in ring.keys]
    if output is not None:
        out.write({"sealed": ["secrets"], "keys": keys}, output)
        return
    typer.echo("Secrets are sealed in the database (AES-256-GCM).")
    for key in keys:
        typer.echo(
            f"key {key['id']}, made {key['created']}"
            + ("" if key["seals"] else ", opens only, until all is sealed anew")
        )


def run_rotate(data_dir: str) -> None:
    """Makes a new key and has everything sealed under it; the old one is then forgotten."""
    config = _config(data_dir)
    ring = _ring(config)
    key = ring.add()
    run_dir = Path(data_dir, "run")
    if runfile.read(run_dir, "control") is None:
        typer.echo(f"Key {key.id} is made. Everything is sealed under it at the next `pilothouse up`.")
        return
    end_control(run_dir)
    deadline = time.monotonic() + _SECONDS
    while len(_ring(config).keys) > 1:
        if time.monotonic() > deadline:
            log = config.path("logs", "control.log")
            raise CommandError(
                f"key {key.id} is made, but the API has not taken it up after {_SECONDS:.0f} s: see {log}"
            )
        time.sleep(0.05)
    typer.echo(
        f"All Secrets are sealed under key {key.id}; the old key is forgotten. Backups made before hold the old one."
    )


def _config(data_dir: str) -> Config:
    if os.geteuid() != 0:
        raise CommandError("pilothouse encryption must be run as root: use sudo")
    try:
        config = load(data_dir)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    if config is None or not config.is_server:
        raise CommandError(f"the API does not run on {data_dir}: there are no Secrets to seal")
    return config


def _ring(config: Config) -> KeyRing:
    try:
        return KeyRing.open(config.path("pki"))
    except KeyRingError as error:
        raise CommandError(str(error)) from error
