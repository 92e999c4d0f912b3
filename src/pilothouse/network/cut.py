"""Makes tracked flows follow the table: stale UDP flows are forgotten, and flows that policies no longer allow.

Reading the kernel's flows costs some 5 ms however few there are, so changes of a fifth of a second share one reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from pilothouse.linux.conntrack import Flow
from pilothouse.linux.netlink import Version
from pilothouse.network import flows
from pilothouse.network.flows import Consequences, StaleUdp

log = logging.getLogger(__name__)

_GATHER = 0.2

Unwanted = Callable[[Flow], bool]


class Cutter:
    """`forbidden` returns the test for flows that policies deny, as they are when it is called."""

    def __init__(self, forbidden: Callable[[], Unwanted], versions: Sequence[Version] = (4,)) -> None:
        self._forbidden = forbidden
        self._versions = versions
        self._stale: set[StaleUdp] = set()
        self._judge = False
        self._wake = asyncio.Event()

    def note(self, result: Consequences) -> None:
        """Takes note of what a change of the table asks for."""
        if result.stale or result.judge:
            self._stale |= result.stale
            self._judge = self._judge or result.judge
            self._wake.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER)
            self._wake.clear()
            stale, self._stale = frozenset(self._stale), set()
            judge, self._judge = self._judge, False
            forbidden = self._forbidden() if judge else None
            try:
                ended = await asyncio.to_thread(flows.forget, _unwanted(stale, forbidden), self._versions)
            except OSError as error:
                log.error("flows that must end could not be ended, trying again: %s", error)
                self.note(Consequences(stale, judge))
                continue
            if ended:
                log.debug("%d flows ended that lead nowhere or that network policies deny", ended)


def _unwanted(stale: frozenset[StaleUdp], forbidden: Unwanted | None) -> Unwanted:
    return lambda flow: flows.is_stale(flow, stale) or (forbidden is not None and forbidden(flow))
