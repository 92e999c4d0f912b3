"""Addresses that no sandbox has are given back; all others stay."""

from __future__ import annotations

import os
from pathlib import Path

from pilothouse.network.addresses import reclaim


def test_only_old_addresses_of_unknown_sandboxes_are_freed(tmp_path: Path) -> None:
    assert reclaim(tmp_path, set(), 1000.0) == []
    (tmp_path / "lock").touch()
    (tmp_path / "last_reserved_ip.0").write_text("10.9.0.4")
    for address, sandbox, made in (("10.9.0.2", "gone", 10), ("10.9.0.3", "here", 10), ("10.9.0.4", "young", 2000)):
        (tmp_path / address).write_text(f"{sandbox}\r\neth0")
        os.utime(tmp_path / address, (made, made))
    assert reclaim(tmp_path, {"here"}, 1000.0) == ["10.9.0.2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10.9.0.3", "10.9.0.4", "last_reserved_ip.0", "lock"]
    # One that a route leads to is left: something still answers there.
    (tmp_path / "127.0.0.1").write_text("gone\r\neth0")
    assert reclaim(tmp_path, {"here", "young"}, 0.0) == []
