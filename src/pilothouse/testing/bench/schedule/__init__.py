"""`scripts/bench schedule`: pods placed a second on many virtual nodes, by the scheduler alone and through the API.

Each size of cluster is measured in a process of its own, so that its memory is its own. Every phase has an end: what
it got until then is the figure, and the note says that it is not all.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import uvloop

from pilothouse.testing.bench.report import Figure
from pilothouse.testing.bench.schedule.alone import alone
from pilothouse.testing.bench.schedule.through_api import through_the_api

_SMALLER = (100, 1000)
"""Also measured, to show how time and memory grow."""


def schedule_figures(nodes: int, pods: int, say: Callable[[str], None]) -> list[Figure]:
    """All figures; needs no root."""
    figures = alone(nodes, pods, say)
    for size in (*(smaller for smaller in _SMALLER if smaller < nodes), nodes):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            figures += pool.submit(_measured, size, pods if size == nodes else pods // 5, size == nodes).result()
    return figures


def _measured(nodes: int, pods: int, with_aims: bool) -> list[Figure]:
    return uvloop.run(through_the_api(nodes, pods, with_aims, _say))


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
