"""One process added to a running container: its FIFOs, its start, its end.

The order is containerd's: the reading ends exist before the process is made, it is waited for from the moment it
starts, and the writing end of its input can be opened only then. Its input ends when our end of the FIFO is closed
*and* the shim is told to close the one it keeps for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path

from pilothouse.machinery.objects import Obj
from pilothouse.node.cri import RuntimeFailure
from pilothouse.node.streams.channels import Size
from pilothouse.node.streams.fifo import FifoReader, FifoWriter
from pilothouse.node.streams.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Streams:
    """Which standard streams are wanted. A terminal has no standard error of its own."""

    stdin: bool
    stdout: bool
    stderr: bool
    terminal: bool


def process_of(container: Obj, command: list[str], terminal: bool) -> Obj:
    """The OCI process that runs `command` as the container's own process runs."""
    process = {**container, "args": command, "terminal": terminal}
    process.pop("consoleSize", None)
    if terminal:
        kept = [entry for entry in container.get("env") or () if not entry.startswith("TERM=")]
        process["env"] = [*kept, "TERM=xterm"]
    return process


class ExecProcess:
    """Call `start`, then read and write, then `wait`, and always `close`."""

    def __init__(self, tasks: Tasks, container_id: str, directory: Path, streams: Streams) -> None:
        self._tasks = tasks
        self._container = container_id
        self._id = uuid.uuid4().hex
        self._directory = directory / self._id
        self._streams = streams
        self._made = False
        self._started = False
        self._exit: asyncio.Task[int] | None = None
        self._size: Size | None = None
        self.started = asyncio.Event()
        """Set once the process runs: its input can be written from then on."""
        self.stdin: FifoWriter | None = None
        self.stdout: FifoReader | None = None
        self.stderr: FifoReader | None = None

    async def start(self, command: list[str]) -> None:
        """Raises RuntimeFailure, as when the program is not in the image, and OSError."""
        process = process_of(await self._tasks.process_spec(self._container), command, self._streams.terminal)
        paths = self._make_fifos()
        # From here a cancelled call may still have made the process, so that close() must look for it.
        self._made = True
        await self._tasks.exec(
            self._container,
            self._id,
            process,
            stdin=paths["stdin"],
            stdout=paths["stdout"],
            stderr=paths["stderr"],
            terminal=self._streams.terminal,
        )
        self._started = True
        await self._tasks.start(self._container, self._id)
        self._exit = asyncio.create_task(self._tasks.wait(self._container, self._id), name=f"wait {self._id}")
        if self._streams.stdin:
            try:
                self.stdin = FifoWriter(self._directory / "stdin")
            except OSError:
                # The process has ended already and its shim has closed its end.
                self.stdin = None
        if self._size is not None:
            await self._apply(self._size)
        self.started.set()

    def _make_fifos(self) -> dict[str, str]:
        self._directory.mkdir(parents=True, mode=0o700)
        paths = {"stdin": "", "stdout": "", "stderr": ""}
        if self._streams.stdin:
            paths["stdin"] = str(self._directory / "stdin")
            os.mkfifo(paths["stdin"], 0o600)
        # Also an output that nobody asked for must be there, or the shim fails, and be read, or the process blocks.
        paths["stdout"] = str(self._directory / "stdout")
        self.stdout = FifoReader(Path(paths["stdout"]))
        if not self._streams.terminal:
            paths["stderr"] = str(self._directory / "stderr")
            self.stderr = FifoReader(Path(paths["stderr"]))
        return paths

    async def end_input(self) -> None:
        """The process reads the end of its input once it has read what was written."""
        if self.stdin is None:
            return
        self.stdin.close()
        self.stdin = None
        # RuntimeFailure: the process has ended, and its input with it.
        with contextlib.suppress(RuntimeFailure):
            await self._tasks.close_stdin(self._container, self._id)

    async def resize(self, size: Size) -> None:
        """Sets the terminal's size, now or as soon as the process runs."""
        self._size = size
        if self._exit is not None:
            await self._apply(size)

    async def _apply(self, size: Size) -> None:
        if self._streams.terminal and size.width > 0 and size.height > 0:
            # RuntimeFailure: the process has just ended.
            with contextlib.suppress(RuntimeFailure):
                await self._tasks.resize(self._container, self._id, size.width, size.height)

    async def wait(self) -> int:
        """The exit code. Raises RuntimeFailure."""
        assert self._exit is not None, "start() comes first"
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        """Kills the process if it still runs, and removes every trace of it."""
        try:
            if self._started and (self._exit is None or not self._exit.done()):
                with contextlib.suppress(RuntimeFailure):
                    await self._tasks.kill(self._container, self._id, signal.SIGKILL)
                    await asyncio.wait_for(self._tasks.wait(self._container, self._id), 10)
            if self._made:
                with contextlib.suppress(RuntimeFailure):
                    await self._tasks.delete(self._container, self._id)
        finally:
            if self._exit is not None:
                self._exit.cancel()
            for end in (self.stdin, self.stdout, self.stderr):
                if end is not None:
                    end.close()
            shutil.rmtree(self._directory, ignore_errors=True)
