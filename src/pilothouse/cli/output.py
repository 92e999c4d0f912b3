"""Results for programs: `-o json` and `-o yaml`."""

from __future__ import annotations

from typing import Any

import msgspec
import typer
import yaml

from pilothouse.cli.errors import CommandError


def check(output: str | None) -> None:
    """Refuses a format there is none of."""
    if output not in (None, "json", "yaml"):
        raise CommandError(f"-o {output}: there is json and yaml", code=2)


def write(tree: Any, output: str) -> None:
    """Prints a tree as JSON or YAML."""
    if output == "json":
        typer.echo(msgspec.json.format(msgspec.json.encode(tree), indent=2).decode())
    else:
        typer.echo(yaml.safe_dump(tree, sort_keys=False), nl=False)
