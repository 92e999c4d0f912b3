from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pilothouse.linux import copy_tree as module
from pilothouse.linux.copy_tree import copy_tree, size_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


def test_what_is_true_of_files_is_true_of_the_copies(source: Path, tmp_path: Path) -> None:
    (source / "below" / "deeper").mkdir(parents=True)
    (source / "below" / "deeper" / "file").write_bytes(b"x" * 100_000)
    (source / "below").chmod(0o2750)
    os.utime(source / "below" / "deeper" / "file", ns=(1_000_000_007, 2_000_000_009))
    (source / "link").symlink_to("/etc/shadow")
    os.link(source / "below" / "deeper" / "file", source / "second")
    os.mkfifo(source / "pipe", 0o640)
    copy = tmp_path / "copy"
    assert copy_tree(source, copy) == 0
    file = copy / "below" / "deeper" / "file"
    assert file.read_bytes() == b"x" * 100_000
    assert file.stat().st_mtime_ns == 2_000_000_009
    assert stat.S_IMODE((copy / "below").stat().st_mode) == 0o2750
    assert os.readlink(copy / "link") == "/etc/shadow"
    assert (copy / "second").stat().st_ino == file.stat().st_ino
    assert stat.S_ISFIFO((copy / "pipe").stat().st_mode)
    assert stat.S_IMODE((copy / "pipe").stat().st_mode) == 0o640


def test_owners_and_attributes(source: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (source / "file").write_text("x")
    os.chown(source / "file", 1234, 2345)
    (source / "file").chmod(0o4755)
    os.setxattr(source / "file", "user.of", b"mine")
    (source / "link").symlink_to("file")
    os.chown(source / "link", 77, 88, follow_symlinks=False)
    copy_tree(source, tmp_path / "copy")
    status, link = os.stat(tmp_path / "copy" / "file"), os.lstat(tmp_path / "copy" / "link")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o4755)
    assert (link.st_uid, link.st_gid) == (77, 88)
    assert os.getxattr(tmp_path / "copy" / "file", "user.of") == b"mine"


def test_holes_take_no_room(source: Path, tmp_path: Path) -> None:
    with (source / "holes").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
        file.truncate(128 << 20)
    copy_tree(source, tmp_path / "copy")
    copy = tmp_path / "copy" / "holes"
    assert copy.stat().st_size == 128 << 20
    assert copy.stat().st_blocks * 512 < 1 << 20
    with copy.open("rb") as file:
        file.seek(64 << 20)
        assert file.read(3) == b"end"
    assert size_of(source) < 1 << 20


def test_files_of_several_names_are_counted_once(source: Path) -> None:
    (source / "a").write_bytes(b"x" * (1 << 20))
    alone = size_of(source)
    os.link(source / "a", source / "b")
    assert size_of(source) == alone


def test_what_becomes_a_link_while_it_is_copied_is_not_followed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the volume swaps what is in it for links to what is not theirs, just after it was seen."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (source / "directory").mkdir()
    (source / "file").write_text("mine")
    real = os.stat

    def swapping(name: object, **options: object) -> os.stat_result:
        status = real(name, **options)  # type: ignore[arg-type,call-overload]
        if name == "directory":
            (source / "directory").rmdir()
            (source / "directory").symlink_to(outside)
        elif name == "file":
            (source / "file").unlink()
            (source / "file").symlink_to(outside / "secret")
        return status  # type: ignore[no-any-return]

    monkeypatch.setattr(module.os, "stat", swapping)
    copy_tree(source, tmp_path / "copy")
    monkeypatch.undo()
    assert [path for path in (tmp_path / "copy").rglob("*") if path.is_file()] == []


def test_what_cannot_be_copied_is_counted(source: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(source)
        made.bind("socket")
        os.chdir("/")
    assert copy_tree(source, tmp_path / "copy") == 1
