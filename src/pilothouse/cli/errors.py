"""How a command fails: one line on standard error, and an exit code."""

from __future__ import annotations

import typer


class CommandError(typer.Exit):
    """Ends the command with its message, shown as `error: …`."""

    def __init__(self, message: str, code: int = 1) -> None:
        typer.echo(f"error: {message}", err=True)
        super().__init__(code)
