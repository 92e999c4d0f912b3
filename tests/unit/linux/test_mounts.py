"""Mounts: paths opened inside a directory do not lead out of it; what is mounted is found and unmounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilothouse.linux.mounts import (
    EscapeError,
    bind_beneath,
    is_mount,
    is_mount_point,
    is_shared,
    mount_tmpfs,
    mounts_below,
    open_beneath,
    share,
    unmount_below,
    unmount_top,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    (made / "inside").mkdir(parents=True)
    (made / "out").symlink_to("/etc")
    (made / "up").symlink_to("../..")
    (made / "in").symlink_to("inside")
    return made


@pytest.mark.parametrize("path", ["out", "up", "out/passwd", "..", "inside/../../x"])
def test_links_do_not_lead_out(volume: Path, path: str) -> None:
    base = os.open(volume, os.O_PATH)
    try:
        with pytest.raises(EscapeError):
            open_beneath(base, path, os.O_PATH)
    finally:
        os.close(base)


def test_links_inside_are_followed(volume: Path) -> None:
    base = os.open(volume, os.O_PATH)
    os.close(open_beneath(base, "in", os.O_PATH | os.O_DIRECTORY))
    os.close(base)


@root_only
def test_missing_directories_are_made_and_bound(volume: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    bind_beneath(volume, "in/new/deep", target)
    try:
        (target / "file").write_text("x")
        assert (volume / "inside" / "new" / "deep" / "file").read_text() == "x"
    finally:
        unmount_below(target)
    assert list(target.iterdir()) == []


@root_only
def test_memory_file_systems_are_found_and_unmounted(tmp_path: Path) -> None:
    target = tmp_path / "a b"
    target.mkdir()
    mount_tmpfs(target, size_bytes=1 << 20, mode=0o700)
    assert is_mount(target)
    assert mounts_below(tmp_path) == [str(target)]
    assert os.statvfs(target).f_blocks * os.statvfs(target).f_frsize == 1 << 20
    unmount_below(tmp_path)
    assert mounts_below(tmp_path) == []


@root_only
def test_a_directory_is_shared_as_a_mount_of_its_own(tmp_path: Path) -> None:
    inside = tmp_path / "shared" / "inside"
    inside.mkdir(parents=True)
    mount_tmpfs(inside)
    (inside / "file").touch()
    share(inside.parent)
    try:
        assert is_shared(inside.parent)
        assert is_shared(inside)
        assert is_mount_point(inside.parent)
        # What was mounted in it before is still seen, then and when it is taken away again.
        assert (inside / "file").exists()
        unmount_top(inside.parent)
        assert not is_mount_point(inside.parent)
        assert (inside / "file").exists()
    finally:
        unmount_below(tmp_path)
