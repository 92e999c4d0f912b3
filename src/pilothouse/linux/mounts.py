"""Mounting and unmounting: tmpfs, bind mounts of paths that must not escape their directory, and what is mounted."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_SHARED = 1 << 20
_MNT_DETACH = 2
_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class EscapeError(OSError):
    """A path inside a volume leads out of it through links."""


def mount_tmpfs(target: str | Path, *, size_bytes: int = 0, mode: int = 0o777) -> None:
    """Mounts a tmpfs; 0 bytes leaves the kernel's limit, half of memory. Raises OSError."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", target, "tmpfs", 0, options)


def mount_huge_pages(target: str | Path, *, page_bytes: int, size_bytes: int = 0) -> None:
    """Mounts a file system of huge pages; 0 bytes leaves it the whole pool. Raises OSError."""
    _mount(
        "hugetlbfs", target, "hugetlbfs", 0, f"pagesize={page_bytes}" + (f",size={size_bytes}" if size_bytes else "")
    )


def bind(source: str | Path, target: str | Path) -> None:
    """Shows `source` at `target` too, with what is mounted below it. Raises OSError."""
    _mount(str(source), target, None, MS_BIND | MS_REC, None)


def mount_read_only(source: str, target: str | Path, kind: str, options: Sequence[str]) -> None:
    """Mounts what may only be read, and whose files are neither programs nor devices. Raises OSError.

    `options` are as mount(8) takes them; a `bind` gets its flags by a second mount, as the kernel wants it.
    """
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    if kind == "bind":
        bind(source, target)
        _mount(source, target, None, flags | MS_REMOUNT | MS_BIND, None)
        return
    _mount(source, target, kind, flags, ",".join(option for option in options if option not in ("ro", "rw")))


def unmount(target: str | Path) -> None:
    """Takes away every mount at `target`; nothing happens when there is none. Busy ones end with their last user."""
    while True:
        if _libc.umount2(os.fsencode(target), _MNT_DETACH) != 0:
            code = ctypes.get_errno()
            if code in (errno.EINVAL, errno.ENOENT):
                return
            raise OSError(code, os.strerror(code), str(target))


def unmount_top(target: str | Path) -> None:
    """Takes away the uppermost mount at `target` only, with what is mounted in it. Raises OSError."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise OSError(code, os.strerror(code), str(target))


def is_shared(path: str | Path) -> bool:
    """Whether what is mounted below the path in another mount namespace that has it from here is mounted here too."""
    real = os.path.realpath(path)
    longest, shared = -1, False
    for line in _mount_lines():
        point = _point(line)
        holds = real == point or point == "/" or real.startswith(point + "/")
        # Of several at one point the last counts: it lies on top.
        if holds and len(point) >= longest:
            fields = line.split(" - ")[0].split()[6:]
            longest, shared = len(point), any(field.startswith("shared:") for field in fields)
    return shared


def share(path: str | Path) -> None:
    """Makes a directory a mount of its own that is shared (`is_shared`). Raises OSError."""
    bind(path, path)
    _mount("none", path, None, MS_SHARED | MS_REC, None)


def mounts_below(directory: str | Path) -> list[str]:
    """Mount points in and below a directory, deepest first."""
    prefix = os.path.realpath(directory)
    found = [point for point in _mount_points() if point == prefix or point.startswith(prefix + "/")]
    return sorted(found, key=len, reverse=True)


def unmount_below(directory: str | Path) -> None:
    """Unmounts everything in and below a directory. Raises OSError."""
    for point in mounts_below(directory):
        unmount(point)


def is_mount(path: str | Path) -> bool:
    """Whether a file system is mounted at the directory (a bind mount of the same file system does not count)."""
    return os.path.ismount(path)


def is_mount_point(path: str | Path) -> bool:
    """Whether anything is mounted at the path, bind mounts of the same file system among it."""
    return os.path.realpath(path) in _mount_points()


def _mount_points() -> list[str]:
    return [_point(line) for line in _mount_lines()]


def _mount_lines() -> list[str]:
    return Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()


def _point(line: str) -> str:
    return line.split()[4].encode().decode("unicode_escape")


def _mount(source: str, target: str | Path, kind: str | None, flags: int, options: str | None) -> None:
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(kind) if kind else None,
        ctypes.c_ulong(flags),
        os.fsencode(options) if options else None,
    )
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def open_beneath(root: int, path: str, flags: int) -> int:
    """Opens a path below the directory `root` is open on; links may not lead out. Raises EscapeError, OSError."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    fd = _libc.syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        code = ctypes.get_errno()
        if code == errno.EXDEV:
            raise EscapeError(code, "the path leads out of the volume", path)
        raise OSError(code, os.strerror(code), path)
    return int(fd)


def bind_beneath(root: str | Path, path: str, target: str | Path) -> None:
    """Binds `root`/`path` to `target`, making missing directories; `target` is made to fit (a file or a directory).

    The source is held open while it is bound, so that it cannot be exchanged for a link in between.
    """
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = _open_or_make(base, path)
        try:
            target = Path(target)
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            bind(f"/proc/self/fd/{fd}", target)
        finally:
            os.close(fd)
    finally:
        os.close(base)


def _open_or_make(base: int, path: str) -> int:
    try:
        return open_beneath(base, path, os.O_PATH)
    except FileNotFoundError:
        parts = Path(path).parts
    for depth in range(1, len(parts) + 1):
        parent = open_beneath(base, os.path.join(".", *parts[: depth - 1]), os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(parts[depth - 1], 0o750, dir_fd=parent)
            os.chmod(parts[depth - 1], 0o777 & ~0o027 | 0o050, dir_fd=parent)
        except FileExistsError:
            continue
        finally:
            os.close(parent)
    return open_beneath(base, path, os.O_PATH)
