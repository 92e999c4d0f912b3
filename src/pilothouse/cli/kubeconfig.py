"""`pilothouse kubeconfig`."""

from __future__ import annotations

from pathlib import Path

import typer

from pilothouse.cli.errors import CommandError


def run_kubeconfig(data_dir: str) -> None:
    """Prints D/kubeconfig."""
    path = Path(data_dir, "kubeconfig")
    try:
        typer.echo(path.read_text(), nl=False)
    except FileNotFoundError as error:
        raise CommandError(f"there is no {path}: run `pilothouse up` first, or name its --data-dir") from error
    except PermissionError as error:
        raise CommandError(f"{path} is readable by root only: use sudo") from error
