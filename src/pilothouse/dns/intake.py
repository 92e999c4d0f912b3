"""Where the node process hands over the records, and the file that keeps the last ones."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

from pilothouse.dns.loop import READ, Loop, Timer
from pilothouse.dns.records import Records

_SAVE_SECONDS = 1.0
"""The file follows the records by so much: a burst of changes is one write."""
_AGAIN_SECONDS = 30.0
_MOST_LINE = 256 << 20


def note(text: str) -> None:
    """A line for the process's log; names are answered without it too when its disk is full."""
    with contextlib.suppress(OSError):
        print(f"dns: {text}", file=sys.stderr, flush=True)


class ZoneFile:
    """The last records on disk."""

    def __init__(self, loop: Loop, records: Records, path: Path) -> None:
        self._loop = loop
        self._records = records
        self._path = path
        self._timer: Timer | None = None

    def load(self) -> None:
        """Takes the records of the file, if there is one that can be read."""
        try:
            tree = json.loads(self._path.read_bytes())
            problems = self._records.replace(tree["zones"], tree["snapshot"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            note(f"{self._path} cannot be used ({error}); names of the cluster resolve when the node process has come")
            return
        for problem in problems:
            note(f"{self._path}: {problem}")

    def changed(self) -> None:
        """Writes the file soon."""
        if self._timer is None:
            self._timer = self._loop.after(_SAVE_SECONDS, self.save)

    def save(self) -> None:
        """Writes the file in one step."""
        self._timer = None
        fresh = self._path.with_suffix(".new")
        tree = {"zones": self._records.zones, "snapshot": self._records.owners}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(fresh, "w") as file:
                json.dump(tree, file)
            fresh.replace(self._path)
        except OSError as error:
            note(f"the records could not be kept: {error}")
            fresh.unlink(missing_ok=True)
            self._timer = self._loop.after(_AGAIN_SECONDS, self.save)


class Intake:
    """Listens on a unix socket; each connection is a node process, the newest of which is believed."""

    def __init__(self, loop: Loop, records: Records, path: Path, file: ZoneFile) -> None:
        self._loop = loop
        self._records = records
        self._file = file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen(4)
        self._socket.setblocking(False)
        loop.watch(self._socket, READ, self._accept)

    def _accept(self, _: int) -> None:
        try:
            connection, _peer = self._socket.accept()
        except OSError:
            return
        connection.setblocking(False)
        buffer = bytearray()
        self._loop.watch(connection, READ, lambda events: self._read(connection, buffer))

    def _read(self, connection: socket.socket, buffer: bytearray) -> None:
        try:
            data = connection.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.forget(connection)
            return
        scanned = len(buffer)
        buffer += data
        if len(buffer) > _MOST_LINE:
            note("a message from the node process is too long")
            self._loop.forget(connection)
            return
        while (end := buffer.find(b"\n", scanned)) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            scanned = 0
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                note(f"a message from the node process was not understood: {error!r}")
                self._loop.forget(connection)
                return

    def _take(self, tree: dict[str, Any]) -> None:
        problems = []
        if "snapshot" in tree:
            problems = self._records.replace(tree["zones"], tree["snapshot"])
        for owner, records in tree.get("put", {}).items():
            try:
                self._records.put(owner, records)
            except ValueError as error:
                problems.append(f"{owner}: {error}")
        for problem in problems:
            note(f"not served: {problem}")
        self._file.changed()
