"""Where vulnerability data and known layers are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pilothouse.guard.images.data.base import FILE

FOLDER: Final = "vulndb"
LAYERS: Final = "layers.db"
_VARIABLE: Final = "PILOTHOUSE_VULNDB"


def data_folder(data_dir: str) -> Path:
    """PILOTHOUSE_VULNDB, else the engine's when there is one that we may write, else the user's own."""
    if os.environ.get(_VARIABLE):
        return Path(os.environ[_VARIABLE])
    engine = Path(data_dir)
    if engine.is_dir() and os.access(engine, os.W_OK):
        return engine / FOLDER
    return _user("XDG_DATA_HOME", ".local/share") / FOLDER


def data_file(folder: Path) -> Path:
    """The data base in a folder."""
    return folder / FILE


def layer_file() -> Path:
    """Known layers of the user's own scans."""
    return _user("XDG_CACHE_HOME", ".cache") / LAYERS


def _user(variable: str, default: str) -> Path:
    base = os.environ.get(variable, "")
    return (Path(base) if base.startswith("/") else Path.home() / default) / "pilothouse"
