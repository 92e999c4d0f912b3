"""Has layers read by the worker: feeds it, follows it, ends it when it takes too long, and starts the next."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from pilothouse.guard.images.inventory.limits import GIB, Limits
from pilothouse.guard.images.model import LayerRecord, NotReadable
from pilothouse.guard.images.scan import frames

_PASSES: Final = 2
_GRACE: Final = 5.0


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Of the process: bytes of address space, seconds of CPU a layer, seconds to answer once it has all of a layer."""

    memory: int = 2 * GIB
    cpu: int = 300
    answer: float = 600.0


class LayerReader:
    """Reads layers one after the other; starts its process at the first, and needs closing."""

    def __init__(self, limits: Limits | None = None, worker: WorkerLimits | None = None) -> None:
        self._limits = limits or Limits()
        self._worker = worker or WorkerLimits()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LayerReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]

    def read(
        self, pieces: Callable[[], Iterable[bytes]], progress: Callable[[int], None] = lambda done: None
    ) -> LayerRecord:
        """The record of a layer, whose bytes are asked for again when a second pass is needed. Raises NotReadable."""
        wanted: tuple[str, ...] = ()
        for _ in range(_PASSES):
            record = self._pass(pieces(), wanted, progress)
            if not record.missing:
                break
            wanted = tuple(record.missing[:10_000])
        return record

    def _pass(self, pieces: Iterable[bytes], wanted: tuple[str, ...], progress: Callable[[int], None]) -> LayerRecord:
        process = self._started()
        answers = _Answers(process, progress)
        try:
            self._feed(process, frames.Request(self._limits, wanted), pieces, answers)
        except BaseException:
            self.close()  # the worker waits for more of this layer; another one starts clean
            raise
        answer = answers.wait(self._worker.answer)
        if answer is None:
            raise NotReadable(self._ended(process))
        if answer[:1] == b"E":
            raise NotReadable(answer[1:].decode("utf-8", "replace"))
        return msgspec.msgpack.decode(answer[1:], type=LayerRecord)

    def _feed(
        self,
        process: subprocess.Popen[bytes],
        request: frames.Request,
        pieces: Iterable[bytes],
        answers: _Answers,
    ) -> None:
        pipe = process.stdin
        assert pipe is not None
        if not _sent(process, msgspec.msgpack.encode(request)):
            return
        for piece in pieces:
            if answers.refused:
                break  # what it has read was enough to say no
            if piece and not _sent(process, piece):
                return  # it ended; why is told by its exit code
        _sent(process, b"")
        with contextlib.suppress(OSError):
            pipe.flush()

    def _started(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            package = Path(__file__).parents[4]
            path = [str(package), os.environ.get("PYTHONPATH", "")]
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "pilothouse.guard.images.scan.worker",
                    str(self._worker.memory),
                    str(self._worker.cpu),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PYTHONPATH": os.pathsep.join(part for part in path if part), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
            self._process = process
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        code = process.returncode
        self.close()
        if code is None:
            return f"reading it took longer than {self._worker.answer:.0f} s; ended"
        if code == -signal.SIGXCPU:
            return f"reading it took more than {self._worker.cpu} s of CPU; ended"
        return (
            f"reading it ended the worker (exit code {code}), which may use {self._worker.memory >> 20} MiB of memory"
        )


def _sent(process: subprocess.Popen[bytes], frame: bytes) -> bool:
    try:
        frames.write(process.stdin, frame)  # type: ignore[arg-type]
    except OSError:
        return False
    return True


class _Answers:
    """Follows what the worker says, in a thread, so that neither side waits for the other."""

    def __init__(self, process: subprocess.Popen[bytes], progress: Callable[[int], None]) -> None:
        self._pipe = process.stdout
        self._progress = progress
        self._answer: bytes | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while (frame := frames.read(self._pipe)) is not None:
                if frame[:1] != b"P":
                    self._answer = frame
                    return
                self._progress(int.from_bytes(frame[1:9], "big"))

    @property
    def refused(self) -> bool:
        """It has said that it cannot read the layer."""
        return self._answer is not None and self._answer[:1] == b"E"

    def wait(self, seconds: float) -> bytes | None:
        """The answer, or None when there is none in time."""
        self._thread.join(seconds)
        return self._answer
