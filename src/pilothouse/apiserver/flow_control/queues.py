"""Fair queues of one priority level. Pure.

A flow is dealt a hand of queues by its name, always the same, and waits in the one of them with the least ahead of it
(shuffle sharding): a flow that floods fills its own hand, and another flow most likely holds a queue outside of it.
Seats that become free go to the queue that has had the least of them, by seat and second; a queue that was empty
begins where the others are, so that nobody saves up. Source: Kubernetes documentation, "API Priority and Fairness",
and KEP-1040; a request is charged a guess when it starts and what it took when it ends, as there.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Generic, TypeVar

from pilothouse.apiserver.flow_control.levels import Queuing

T = TypeVar("T")
_GUESS = 0.003
"""Seconds that a request is taken to hold its seats until it is known."""
_MOST_IDLE = 1024


class Queue(Generic[T]):
    """Waiting requests with the seats each needs, and what the queue has had, in seats by seconds."""

    __slots__ = ("had", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[T, int]] = deque()
        self.had = 0.0


class FairQueues(Generic[T]):
    """The queues of a level."""

    def __init__(self, queuing: Queuing) -> None:
        self.queuing = queuing
        self._queues: dict[int, Queue[T]] = {}
        """Those that have been used; there may be far more."""
        self._busy: set[int] = set()
        self._count = 0
        self._now = 0.0
        """What the queue that was served last had had."""

    def __len__(self) -> int:
        return self._count

    def put(self, flow: str, item: T, seats: int) -> bool:
        """Whether there was room."""
        number = min(deal(flow, self.queuing), key=self._ahead)
        queue = self._queues.get(number)
        if queue is None:
            self._forget()
            queue = self._queues[number] = Queue()
        if len(queue.waiting) >= self.queuing.length:
            return False
        if not queue.waiting:
            queue.had = max(queue.had, self._now)
            self._busy.add(number)
        queue.waiting.append((item, seats))
        self._count += 1
        return True

    def first(self) -> tuple[T, int] | None:
        """Who is next, and the seats that takes."""
        return self._queues[self._next()].waiting[0] if self._busy else None

    def take(self) -> tuple[T, Queue[T]]:
        """Takes out who is next, with the queue to charge (see `settle`)."""
        number = self._next()
        queue = self._queues[number]
        item, seats = queue.waiting.popleft()
        self._count -= 1
        self._now = queue.had
        queue.had += seats * _GUESS
        if not queue.waiting:
            self._busy.discard(number)
        return item, queue

    def remove(self, item: T) -> bool:
        """Takes out somebody who does not wait any longer; False for one who is not there."""
        for number in self._busy:
            queue = self._queues[number]
            for entry in queue.waiting:
                if entry[0] is item:
                    queue.waiting.remove(entry)
                    self._count -= 1
                    if not queue.waiting:
                        self._busy.discard(number)
                    return True
        return False

    def _ahead(self, number: int) -> int:
        """The seats that those want who wait in a queue."""
        queue = self._queues.get(number)
        return sum(width for _, width in queue.waiting) if queue is not None else 0

    def _forget(self) -> None:
        """Lets go of idle queues, with what they have had, when there are very many."""
        if len(self._queues) > _MOST_IDLE + len(self._busy):
            self._queues = {number: self._queues[number] for number in self._busy}

    def _next(self) -> int:
        return min(self._busy, key=lambda number: (self._queues[number].had, number))


def settle(queue: Queue[T], seats: int, seconds: float) -> None:
    """Charges what a request took instead of the guess."""
    queue.had += seats * (seconds - _GUESS)


def deal(flow: str, queuing: Queuing) -> list[int]:
    """The hand of a flow: distinct numbers of queues, each hand equally likely."""
    entropy = int.from_bytes(hashlib.blake2b(flow.encode("utf-8", "surrogatepass"), digest_size=32).digest())
    hand: list[int] = []
    for dealt in range(queuing.hand):
        entropy, card = divmod(entropy, queuing.queues - dealt)
        # The card-th of those not dealt yet.
        for earlier in sorted(hand):
            card += card >= earlier
        hand.append(card)
    return hand
