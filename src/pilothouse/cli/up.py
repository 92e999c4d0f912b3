"""`pilothouse up`."""

from __future__ import annotations

import os

import typer

from pilothouse.cli.errors import CommandError
from pilothouse.launch.config import ConfigError
from pilothouse.launch.prepare import Options, prepare
from pilothouse.launch.service import start_in_background, supervisor_command
from pilothouse.linux.host import detect


def run_up(options: Options, background: bool) -> None:
    """Checks, then becomes the supervisor, or starts it in the background and waits until the node is Ready."""
    try:
        config = prepare(options)
        if background:
            start_in_background(config, detect().systemd, typer.echo)
            return
    except ConfigError as error:
        raise CommandError(str(error)) from error
    command = supervisor_command(config)
    os.execv(command[0], command)
