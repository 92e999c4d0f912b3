"""Copies of SQLite files that others have open and write to (not exclusively, as the store itself does)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path


async def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a database that others write to. Raises OSError."""
    await asyncio.to_thread(_copy, source, target)


def _copy(source: Path, target: Path) -> None:
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
            contextlib.closing(sqlite3.connect(target)) as there,
        ):
            here.backup(there)
            there.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise OSError(0, str(error), str(source)) from error
