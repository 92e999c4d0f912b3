"""The control process's side of the matching process, which is started when there is something to ask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.scan.frames import LARGEST

T = TypeVar("T")

_LENGTH: Final = struct.Struct(">I")
_IDLE_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 600.0


class Matching:
    """Asks about one data base. Requests are answered one after the other."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._ending: asyncio.TimerHandle | None = None

    async def ask(self, request: msgspec.Struct, kind: type[T]) -> T:
        """Raises NotReadable when the process fails or cannot answer."""
        async with self._lock:
            if self._ending is not None:
                self._ending.cancel()
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    data = await self._exchange(msgspec.msgpack.encode(request))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                await self._end()
                raise NotReadable(f"matching failed: {type(error).__name__} {error}") from error
            except BaseException:
                await self._end()
                raise
            self._ending = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._close)
        try:
            return msgspec.msgpack.decode(data, type=kind)
        except msgspec.ValidationError as error:
            failed = msgspec.msgpack.decode(data)
            text = failed.get("error") if isinstance(failed, dict) else error
            raise NotReadable(f"matching failed: {text}") from error

    async def _exchange(self, data: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_LENGTH.pack(len(data)) + data)
        await process.stdin.drain()
        (size,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        if size > LARGEST:
            raise OSError("an answer that is too long")
        return await process.stdout.readexactly(size)

    async def _started(self) -> asyncio.subprocess.Process:
        package = Path(__file__).parents[4]
        path = [str(package), os.environ.get("PYTHONPATH", "")]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pilothouse.guard.images.match.worker", str(self._file)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(part for part in path if part), "LANG": "C.UTF-8"},
            start_new_session=True,
        )

    def _close(self) -> None:
        """Lets the process end by itself."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process = None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def close(self) -> None:
        """Ends the process."""
        if self._ending is not None:
            self._ending.cancel()
        await self._end()
