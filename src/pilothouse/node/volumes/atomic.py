"""Directories whose files change all at once: readers see either the old set or the new one.

The layout is upstream's AtomicWriter's, so that programs which watch `..data` work: files live in a directory of their
own, `..data` links to it, and every file's name links through `..data`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from pilothouse.node.volumes.payload import Payload

_DATA = "..data"


def write(directory: Path, payload: Payload, group: int | None = None) -> bool:
    """Makes `directory` hold exactly `payload`, owned by `group` if given; False if it did already. Raises OSError."""
    if _current(directory) == {path: (file.content, _mode(file.mode, group)) for path, file in payload.items()}:
        return False
    fresh = Path(tempfile.mkdtemp(prefix=time.strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
    fresh.chmod(0o755)
    _own(fresh, group)
    for path, file in payload.items():
        target = fresh / path
        for parent in reversed(target.relative_to(fresh).parents[:-1]):
            (fresh / parent).mkdir(exist_ok=True)
            (fresh / parent).chmod(0o755)
            _own(fresh / parent, group)
        target.write_bytes(file.content)
        target.chmod(_mode(file.mode, group))
        _own(target, group)
    old = _link(directory / _DATA)
    temporary = directory / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.rename(directory / _DATA)
    _link_names(directory, {path.split("/")[0] for path in payload})
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)
    return True


def _link_names(directory: Path, names: set[str]) -> None:
    for entry in os.scandir(directory):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            os.unlink(entry.path)
    for name in names:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"{_DATA}/{name}")


def _current(directory: Path) -> dict[str, tuple[bytes, int]] | None:
    """The files there are, None where nothing was written yet."""
    data = directory / _DATA
    if not data.is_dir():
        return None
    files = (path for path in data.rglob("*") if path.is_file())
    return {str(path.relative_to(data)): (path.read_bytes(), path.stat().st_mode & 0o7777) for path in files}


def _mode(mode: int, group: int | None) -> int:
    """A group that owns the volume may read its files."""
    return mode if group is None else mode | 0o440


def _own(path: Path, group: int | None) -> None:
    if group is not None:
        os.chown(path, -1, group)


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
