"""`pilothouse stop`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from pilothouse.cli.errors import CommandError
from pilothouse.launch.stop import stop_engine


def run_stop(data_dir: str) -> None:
    """Stops the engine and says what goes on."""
    if os.geteuid() != 0:
        raise CommandError("pilothouse stop must be run as root: use sudo")
    ran = stop_engine(Path(data_dir).absolute())
    if not ran:
        typer.echo("The engine was not running.")
        return
    typer.echo(
        f"Stopped {', '.join(ran)}. Containers, DNS and service addresses go on; `pilothouse up` takes over again."
    )
