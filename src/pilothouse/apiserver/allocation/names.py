"""Gives CustomResourceDefinitions their names: what no other kind of their group has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.kinds.apiextensions.names import decide_names, taken_names
from pilothouse.kinds.problems import section
from pilothouse.machinery.objects import Obj


class NameAllocator:
    """An `Allocator`: the status a definition is stored with says which of its names it has, so that its kinds are
    served with the answer to the write. Names freed by another definition are given out by the controller."""

    def __init__(self, kinds: ServedKinds) -> None:
        self._kinds = kinds
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def allocated(self, new: Obj, old: Obj | None, dry_run: bool) -> AsyncIterator[None]:
        async with self._lock:
            group = section(new, "spec").get("group") or ""
            others = self._kinds.names_given(group, new["metadata"].get("name") or "")
            taken = taken_names(group, others, self._kinds.builtin)
            new["status"] = decide_names(new, taken)
            yield
