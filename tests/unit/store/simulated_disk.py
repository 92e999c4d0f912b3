"""A disk in memory that remembers what was synced, for SQLite by apsw's VFS; after a power cut it holds what one may.

What was written to a file and not synced may be there or not, in any order, and torn between sectors.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import apsw

SECTOR = 512


class Operation(NamedTuple):
    """One thing done to the disk, in order."""

    kind: Literal["write", "truncate", "sync", "delete"]
    file: str
    offset: int = 0
    data: bytes = b""


class Disk:
    """Files by name, and everything that was done to them since the beginning."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.begin = dict(files or {})
        self.files = {name: bytearray(data) for name, data in self.begin.items()}
        self.log: list[Operation] = []

    def do(self, operation: Operation) -> None:
        self.log.append(operation)
        if operation.kind == "delete":
            self.files.pop(operation.file, None)
        elif operation.kind != "sync":
            change(self.files.setdefault(operation.file, bytearray()), operation)

    def after_power_cut(self, at: int, chance: random.Random) -> Disk:
        """What is found when the power went after the first `at` operations."""
        found: dict[str, bytes] = {}
        for name in sorted({*self.begin, *(operation.file for operation in self.log[:at])}):
            content = self._found(name, [o for o in self.log[:at] if o.file == name], chance)
            if content is not None:
                found[name] = bytes(content)
        return Disk(found)

    def _found(self, name: str, done: Sequence[Operation], chance: random.Random) -> bytearray | None:
        content = bytearray(self.begin[name]) if name in self.begin else None
        pending: list[Operation] = []
        for operation in done:
            if operation.kind == "sync":
                content = bytearray() if content is None else content
                for earlier in pending:
                    change(content, earlier)
                pending.clear()
            elif operation.kind == "delete":
                # Deletions of this workload are made durable by a sync of the directory.
                content, pending = None, []
            else:
                pending.append(operation)
        survived = [part for operation in pending for part in _sectors(operation) if chance.random() < 0.5]
        chance.shuffle(survived)
        if survived and content is None:
            content = bytearray()
        for part in survived:
            assert content is not None
            change(content, part)
        return content


def change(content: bytearray, operation: Operation) -> None:
    """Does a write or a truncation to a file's content."""
    if operation.kind == "truncate":
        if operation.offset < len(content):
            del content[operation.offset :]
        return
    end = operation.offset + len(operation.data)
    if len(content) < operation.offset:
        content.extend(bytes(operation.offset - len(content)))
    content[operation.offset : end] = operation.data


def _sectors(operation: Operation) -> Iterator[Operation]:
    if operation.kind == "truncate":
        yield operation
    for start in range(0, len(operation.data), SECTOR):
        yield operation._replace(offset=operation.offset + start, data=operation.data[start : start + SECTOR])


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self.disk = disk
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        flags[1] = flags[0]
        return _File(self.disk, _text(name))

    def xAccess(self, pathname: str, flags: int) -> bool:
        return pathname in self.disk.files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.disk.do(Operation("delete", filename))

    def xFullPathname(self, name: str) -> str:
        return name


class _File:
    def __init__(self, disk: Disk, name: str) -> None:
        self._disk, self._name = disk, name
        disk.files.setdefault(name, bytearray())

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._disk.files[self._name][offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.do(Operation("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._disk.do(Operation("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:
        self._disk.do(Operation("sync", self._name))

    def xFileSize(self) -> int:
        return len(self._disk.files[self._name])

    def xLock(self, level: int) -> None: ...

    def xUnlock(self, level: int) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xClose(self) -> None: ...


def _text(name: Any) -> str:
    return name if isinstance(name, str) else str(name.filename())


class Connection:
    """As much of `sqlite3.Connection` as the store uses, over a simulated disk."""

    def __init__(self, disk: Disk) -> None:
        self._vfs = _Vfs(f"simulated-{id(disk)}", disk)
        self._db = apsw.Connection("state.db", vfs=f"simulated-{id(disk)}")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> _Cursor:
        try:
            return _Cursor(self._db.execute(sql, values))
        except apsw.Error as error:
            raise sqlite3.DatabaseError(str(error)) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._db.executemany(sql, rows)
        except apsw.Error as error:
            raise sqlite3.DatabaseError(str(error)) from error

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def close(self) -> None:
        self._db.close()
        self._vfs.unregister()

    def vanish(self) -> None:
        """The power goes: nothing more reaches the disk."""
        self._vfs.disk = Disk()
        self._vfs.unregister()


class _Cursor:
    """apsw's cursor with sqlite3's names."""

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor

    def fetchone(self) -> Any:
        return next(self._cursor, None)

    def fetchall(self) -> list[Any]:
        return list(self._cursor)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)
