"""Work on a range of numbers shared out among processes: for commands that compute much and wait for nothing.

Processes are forked, so that each has all that was read before without its being sent; only results are.
"""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
_MOST = 8
"""Processes at once: each may come to hold what the others hold."""
_LEAST = 256


def in_parts(count: int, work: Callable[[int, int], _Result], least: int = _LEAST) -> list[_Result]:
    """What `work(start, end)` says of consecutive parts of `range(count)`, in order.

    Each of several parts has at least `least` numbers, and its result must be picklable. A part whose process fails is
    done again by this one, so that its error is raised here.
    """
    parts = _parts(count, least)
    started: list[tuple[int, int]] = []
    results: list[_Result] = []
    try:
        started += [_start(work, *part) for part in parts[1:]]
        results.append(work(*parts[0]))
        for part, (_, pipe) in zip(parts[1:], started):
            with open(pipe, "rb", closefd=False) as opened:
                sent = opened.read()
            # Whole, or not: the number of bytes goes before them.
            whole = len(sent) >= 8 and int.from_bytes(sent[:8], "big") == len(sent) - 8
            results.append(pickle.loads(sent[8:]) if whole else work(*part))
    finally:
        for process, pipe in started:
            os.close(pipe)  # one that still writes ends by SIGPIPE's error
            os.waitpid(process, 0)
    return results


def _parts(count: int, least: int) -> list[tuple[int, int]]:
    several = sys.platform == "linux" and threading.active_count() == 1  # a fork copies no other thread, but its locks
    processors = len(os.sched_getaffinity(0)) if several else 1
    number = max(1, min(processors, _MOST, count // least))
    bounds = [count * part // number for part in range(number + 1)]
    return list(itertools.pairwise(bounds))


def _start(work: Callable[[int, int], _Result], start: int, end: int) -> tuple[int, int]:
    """Forks a process that does a part; its number, and where its result can be read."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    code = 1
    try:
        os.close(reading)
        result = pickle.dumps(work(start, end), pickle.HIGHEST_PROTOCOL)
        with open(writing, "wb") as opened:
            opened.write(len(result).to_bytes(8, "big"))
            opened.write(result)
        code = 0
    finally:
        # Not even for an error: what the caller has left to write or to clean up is the caller's.
        os._exit(code)
