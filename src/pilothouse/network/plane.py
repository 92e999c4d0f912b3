"""One version of IP on a node: its table, what rules need to know, and the pods by their addresses of that version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pilothouse.kinds.families import canonical
from pilothouse.network.apply import Table
from pilothouse.network.config import Ranges
from pilothouse.network.facts import NodeFacts
from pilothouse.network.pods import Pods


class Plane:
    """`facts` and `pods` may be read before `make`, `table` may not."""

    def __init__(self, facts: NodeFacts, ranges: Ranges) -> None:
        self.facts = facts
        self.ranges = ranges
        self.pods = Pods()
        self._made: Table | None = None

    @property
    def table(self) -> Table:
        if self._made is None:
            raise RuntimeError("Network.setup was not called")
        return self._made

    def make(self, name: str) -> None:
        """Makes the table, or takes over the one that is there. Raises OSError."""
        self._made = Table(name, self.facts)
        self._made.make()

    def change(self, **facts: Any) -> bool:
        """Changes some of the facts; false if they are so already."""
        changed = replace(self.facts, **facts)
        if changed == self.facts:
            return False
        self.facts = changed
        return True

    def first(self, addresses: Iterable[str]) -> str:
        """The first address of this version among those, "" for none."""
        return next((canonical(address) for address in addresses if self.facts.holds(address)), "")
