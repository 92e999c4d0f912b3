"""A directory copied as it is: owners, modes, times, extended attributes, hard links, holes.

Whoever writes to the source while it is copied may put links in the way, so everything is opened below the directory it
was found in, and no link is followed: nothing from outside is copied. Blocks are shared where the file system can
(reflink).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_FICLONE = 0x40049409
_CHUNK = 64 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


def size_of(directory: str | Path) -> int:
    """The bytes that a directory takes on disk. Raises OSError."""
    top = os.open(directory, _DIRECTORY)
    try:
        return _size(top, set())
    finally:
        os.close(top)


def copy_tree(source: str | Path, target: str | Path) -> int:
    """Copies a directory to one that is not there yet, and has it on disk; the devices and sockets that were left out.

    Raises OSError; what was copied until then stays.
    """
    top = os.open(source, _DIRECTORY)
    try:
        os.mkdir(target, 0o700)
        made = os.open(target, _DIRECTORY)
        try:
            copier = _Copier()
            copier.directory(top, made)
            if _libc.syncfs(made):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(target))
            return copier.left_out
        finally:
            os.close(made)
    finally:
        os.close(top)


class _Copier:
    def __init__(self) -> None:
        self.left_out = 0
        self._links: dict[tuple[int, int], tuple[int, str]] = {}
        """Where files of several names are in the copy, by device and inode: a descriptor, and a name below it."""
        self._held: list[int] = []

    def directory(self, source: int, target: int) -> None:
        """Copies what is in a directory, and what is true of it."""
        for name in os.listdir(source):
            # What is in use may go, or become something else, while it is looked at.
            with contextlib.suppress(FileNotFoundError):
                self._entry(source, target, name)
        _attributes(source, target)

    def _entry(self, source: int, target: int, name: str) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            self._directory(source, target, name)
        elif kind == stat.S_IFREG:
            self._file(source, target, name)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _owned(target, name, status)
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, 0o600, dir_fd=target)
            _owned(target, name, status)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        else:
            self.left_out += 1

    def _directory(self, source: int, target: int, name: str) -> None:
        with _opened(name, _DIRECTORY, source) as below:
            os.mkdir(name, 0o700, dir_fd=target)
            with _opened(name, _DIRECTORY, target) as made:
                self.directory(below, made)

    def _file(self, source: int, target: int, name: str) -> None:
        # Not to wait for a writer, if it has become a pipe meanwhile.
        with _opened(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, source) as data:
            status = os.fstat(data)
            if not stat.S_ISREG(status.st_mode):
                self.left_out += 1
                return
            key = (status.st_dev, status.st_ino)
            if status.st_nlink > 1 and key in self._links:
                place, first = self._links[key]
                os.link(first, name, src_dir_fd=place, dst_dir_fd=target, follow_symlinks=False)
                return
            with _opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, target) as made:
                _contents(data, made, status.st_size)
                _attributes(data, made)
            if status.st_nlink > 1:
                self._links[key] = (self._hold(target), name)

    def _hold(self, directory: int) -> int:
        """The directory's descriptor for as long as the copy is made."""
        self._held.append(os.dup(directory))
        return self._held[-1]

    def __del__(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)


@contextlib.contextmanager
def _opened(name: str, flags: int, directory: int) -> Iterator[int]:
    """Raises FileNotFoundError also for what has become a link, or no directory any more."""
    try:
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise FileNotFoundError(error.errno, error.strerror, name) from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _contents(source: int, target: int, size: int) -> None:
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError:
        os.ftruncate(target, size)
    position = 0
    while position < size:
        try:
            begin = os.lseek(source, position, os.SEEK_DATA)
            end = os.lseek(source, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        while begin < end:
            count = os.copy_file_range(source, target, min(_CHUNK, end - begin), begin, begin)
            if count == 0:
                return  # it was cut short meanwhile
            begin += count
        position = end


def _attributes(source: int, target: int) -> None:
    """Owner first: changing it takes set-user-id bits and capabilities away."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    for name in os.listxattr(source):
        with contextlib.suppress(OSError):  # one that this file system, or the kernel's security module, does not take
            os.setxattr(target, name, os.getxattr(source, name))
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _owned(directory: int, name: str, status: os.stat_result) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=directory, follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=directory, follow_symlinks=False)


def _size(directory: int, seen: set[tuple[int, int]]) -> int:
    total = 0
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            key = (status.st_dev, status.st_ino)
            if key in seen:
                continue
            if status.st_nlink > 1:
                seen.add(key)
            total += 512 * status.st_blocks
            if stat.S_ISDIR(status.st_mode):
                with _opened(name, _DIRECTORY, directory) as below:
                    total += _size(below, seen)
    return total
