"""A loop over sockets and timers in one thread. asyncio would do, but doubles the dns process's memory (9 MB)."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
import traceback
from collections.abc import Callable
from functools import partial

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Timer:
    """A call to be made later, unless cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls back when a socket is ready or a time has come. Callbacks must not wait."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._calls: dict[socket.socket, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, sock: socket.socket, events: int, call: Callable[[int], None]) -> None:
        """Calls `call` with the events (READ, WRITE) for which the socket is ready; replaces an earlier watch."""
        if sock in self._calls:
            self._selector.modify(sock, events)
        else:
            self._selector.register(sock, events)
        self._calls[sock] = call

    def forget(self, sock: socket.socket) -> None:
        """Stops watching the socket, and closes it."""
        if self._calls.pop(sock, None) is not None:
            self._selector.unregister(sock)
        sock.close()

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Runs until `stop`. A callback that fails is reported and harms no other."""
        self._running = True
        while self._running:
            for key, events in self._selector.select(self._wait()):
                # An earlier callback of this round may have closed the socket.
                sock = key.fileobj
                if isinstance(sock, socket.socket) and sock in self._calls:
                    self._guarded(partial(self._calls[sock], events))
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                timer = heapq.heappop(self._timers)[2]
                if timer.call is not None:
                    self._guarded(timer.call)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            traceback.print_exc()

    def stop(self) -> None:
        self._running = False

    def _wait(self) -> float | None:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
