"""The process that reads layers: `python -m pilothouse.guard.images.scan.worker MEMORY CPU`.

What is in a layer is somebody else's; whatever it makes our parsers do, it does here: with limited memory and time, no
files but unlinked temporary ones, no rights of root. Frames in, frames out (`frames`): `P` and bytes done, `R` and a
record, `E` and why not.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import IO, Final

import msgspec

from pilothouse.guard.images.inventory.layer import read_layer
from pilothouse.guard.images.inventory.limits import GIB, MIB
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.scan import frames

_NOBODY: Final = 65534
_LARGEST_FILE: Final = 2 * GIB


def main(arguments: list[str]) -> int:
    """Serves requests until standard input ends."""
    memory, cpu = int(arguments[0]), int(arguments[1])
    _confine(memory)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (head := frames.read(source)) is not None:
        _allow_cpu(cpu)
        request = msgspec.msgpack.decode(head, type=frames.Request)
        answer = _read(request, source, sink)
        if answer is None:
            return 1
        frames.write(sink, answer)
        sink.flush()
    return 0


def _read(request: frames.Request, source: IO[bytes], sink: IO[bytes]) -> bytes | None:
    """The answer, or None when the parent has gone."""
    pieces = _Pieces(source)
    told = 0

    def progress(done: int) -> None:
        nonlocal told
        if done - told >= 8 * MIB:
            told = done
            frames.write(sink, b"P" + done.to_bytes(8, "big"))
            sink.flush()

    try:
        record = read_layer(pieces, request.limits, frozenset(request.wanted), progress)
        answer = b"R" + msgspec.msgpack.encode(record)
    except NotReadable as error:
        answer = b"E" + str(error).encode("utf-8", "replace")
    except MemoryError:
        answer = b"E" + b"it takes more memory to read than is allowed"
    except Exception as error:  # a parser's mistake must not pass for an empty layer, nor end the scan of others
        answer = b"E" + f"reading it failed: {type(error).__name__}: {error}".encode("utf-8", "replace")
    for _ in pieces:
        pass
    return answer if pieces.ended else None


class _Pieces:
    """The frames of one layer."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        while not self.ended:
            piece = frames.read(self._source)
            if piece is None:
                return
            if not piece:
                self.ended = True
                return
            yield piece


def _confine(memory: int) -> None:
    """Limits of this process for good; what a system does not have is left out."""
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, _LARGEST_FILE),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))
    os.nice(10)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # All that is imported late, while its files can still be read.
    codecs.lookup("cp437")
    with contextlib.suppress(ImportError):
        import backports.zstd  # noqa: F401
    import sqlite3  # noqa: F401

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


def _allow_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds, resource.RLIM_INFINITY))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
