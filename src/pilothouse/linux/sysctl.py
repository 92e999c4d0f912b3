"""Kernel parameters under /proc/sys/net, with the values found before the first change kept for giving them back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path("/proc/sys")


def read(name: str) -> str | None:
    """The value of a parameter such as `net.ipv4.ip_forward`; None if the kernel has no such parameter.

    As with sysctl(8), a name with slashes may have dots in its parts: `net/ipv6/conf/eth0.7/accept_ra`.
    """
    try:
        return _path(name).read_text().strip()
    except FileNotFoundError:
        return None


def apply(values: Mapping[str, str], saved: Path) -> dict[str, str]:
    """Sets parameters, first noting the old value of each that changes in the file `saved` (kept if noted before).

    Returns what changed, with the old values. Raises OSError naming the parameter when one cannot be set.
    """
    before = _load(saved)
    changed = {name: old for name, value in values.items() if (old := read(name)) is not None and old != value}
    if changed:
        _store(saved, {**changed, **before})
    for name in changed:
        _path(name).write_text(values[name])
    return changed


def restore(saved: Path) -> list[str]:
    """Gives every noted parameter its old value back, removes the note and returns the names (none without a note)."""
    before = _load(saved)
    for name, value in before.items():
        if read(name) is not None:
            _path(name).write_text(value)
    saved.unlink(missing_ok=True)
    return sorted(before)


def _path(name: str) -> Path:
    return _ROOT.joinpath(*name.split("/" if "/" in name else "."))


def _load(path: Path) -> dict[str, str]:
    try:
        noted: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return noted


def _store(path: Path, values: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with open(fresh, "w") as file:
        json.dump(values, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
