"""The kernel's table: made, read once, and then changed by the difference, each change a transaction.

Nothing is ever flushed: a table that an earlier run left keeps serving while the new run reads it and converges.
"""

from __future__ import annotations

import asyncio
import logging

from pilothouse.linux.nftables import Nftables, NftablesError
from pilothouse.network import base
from pilothouse.network.facts import Key, NodeFacts
from pilothouse.network.family import batch_for
from pilothouse.network.flows import Consequences, consequences
from pilothouse.network.table import Change, Desired, elements_of

log = logging.getLogger(__name__)

_INLINE = 32_768
"""Batches of up to that many characters are applied in the event loop (about 1 ms); larger ones in a thread."""


class Table:
    """One nftables table, of `ip` or `ip6` by the facts. `desired` is changed at will; `commit` puts the changes in
    force."""

    def __init__(self, name: str, facts: NodeFacts) -> None:
        self.name = name
        self.desired = Desired()
        self._facts = facts
        self._family = "ip" if facts.version == 4 else "ip6"
        self._nftables = Nftables()
        self._lock = asyncio.Lock()

    def make(self) -> None:
        """Makes the fixed part, or brings it up to date, and reads what the table holds.

        A table whose maps have another shape (of another version) is replaced, in the same transaction.
        """
        anew = f"add table ip {self.name}\ndelete table ip {self.name}\n"
        told, silent = (base.commands(self.name, self._facts, logging=logging) for logging in (True, False))
        ways = (
            (told, "cannot be kept, making it anew"),
            (anew + told, "cannot tell of flows (is the kernel module nfnetlink_log missing?)"),
            (silent, "cannot be kept, making it anew"),
        )
        for batch, failure in ways:
            try:
                self._apply(batch)
                break
            except NftablesError as error:
                log.warning("nftables table %s %s: %s", self.name, failure, error)
        else:
            self._apply(anew + silent)
        self._read()

    def exists(self) -> bool:
        """Whether the kernel has the table."""
        tables = self._nftables.read(f"list tables {self._family}") or []
        return any(item.get("table", {}).get("name") == self.name for item in tables)

    async def forget_seen(self) -> None:
        """Flows that were told of within the minute are told of again. Raises NftablesError."""
        async with self._lock:
            self._apply(f"flush set ip {self.name} seen")

    async def commit(self) -> Consequences:
        """Applies what changed since the last commit, and says which tracked flows must follow.

        Raises NftablesError when the kernel refuses the change twice.
        """
        async with self._lock:
            change = self.desired.change(self.name)
            try:
                await self._run(change)
            except NftablesError as error:
                # Somebody else changed the table, or an assumption was wrong: look again, then compare.
                log.warning("nftables refused a change, reading table %s again: %s", self.name, error)
                self.make()
                change = self.desired.change(self.name)
                try:
                    await self._run(change)
                except NftablesError:
                    self.desired.failed(change)
                    raise
            result = consequences(self.desired.replaced(change), change.elements)
            self.desired.done(change)
            return result

    async def _run(self, change: Change) -> None:
        for batch in filter(None, (change.before, change.commands)):
            if len(batch) <= _INLINE:
                self._apply(batch)
            else:
                await asyncio.to_thread(self._apply, batch)

    def _apply(self, batch: str) -> None:
        self._nftables.run(batch_for(self._facts.version, batch, self.name))

    def _read(self) -> None:
        elements: dict[Key, str] = {}
        chains: list[str] = []
        sets: dict[str, str] = {}
        fixed = base.chains(self._facts)
        for item in self._nftables.read(f"list table {self._family} {self.name}") or []:
            listed = item.get("set") or item.get("map")
            if listed and listed["name"] not in base.KERNEL_FILLED:
                elements.update(elements_of(listed))
                if listed["name"] not in base.SETS:
                    sets[listed["name"]] = "set"
            elif "limit" in item and item["limit"]["name"] != base.DENIED:
                sets[item["limit"]["name"]] = "limit"
            elif "chain" in item and item["chain"]["name"] not in fixed:
                chains.append(item["chain"]["name"])
        self.desired.assume(elements, chains, sets)
