"""`pilothouse down`."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from pilothouse.cli.errors import CommandError
from pilothouse.launch.config import ConfigError
from pilothouse.launch.teardown import TeardownError, tear_down


def run_down(data_dir: str, purge: bool) -> None:
    """Stops everything; with `purge` also removes every trace."""
    if os.geteuid() != 0:
        raise CommandError("pilothouse down must be run as root: use sudo")
    try:
        tear_down(Path(data_dir).absolute(), purge, typer.echo)
    except (ConfigError, TeardownError) as error:
        raise CommandError(str(error)) from error
