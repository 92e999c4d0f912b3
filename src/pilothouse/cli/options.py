"""Options that several commands share."""

from __future__ import annotations

import os
from typing import Annotated, TypeAlias

import typer

DATA_DIR = os.environ.get("PILOTHOUSE_DATA_DIR", "/var/lib/pilothouse")

DataDir: TypeAlias = Annotated[str, typer.Option("--data-dir", help="Where the engine keeps everything.")]
Output: TypeAlias = Annotated[str | None, typer.Option("--output", "-o", help="json or yaml, for programs.")]
Kubeconfig: TypeAlias = Annotated[
    str | None, typer.Option("--kubeconfig", help="Another cluster's (default: this machine's engine).")
]
PassphraseFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--passphrase-file", help="Holds the passphrase (else PILOTHOUSE_PASSPHRASE, or you are asked)."),
]
