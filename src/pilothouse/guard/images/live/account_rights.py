"""How far the rights of service accounts reach, as the findings of the source `access` say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from pilothouse.guard.access.watch import ADMIN, ALL_SECRETS, ROOT, SOURCE
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import PREFIX
from pilothouse.kinds.guard.finding import RESOLVED
from pilothouse.store.store import Compacted, WatchEnded

_WORDS: Final = {
    ADMIN.id: "gets to cluster-admin",
    ALL_SECRETS.id: "reads every Secret",
    ROOT.id: "gets to be root on a node",
}
_AGAIN_SECONDS: Final = 1.0
_MARK: Final = f'"pilothouse.io/source":"{SOURCE}"'.encode()


class AccountRights:
    """What is known now. An accepted finding counts: its rights are there all the same."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._reach: dict[str, tuple[str, ...]] = {}

    def __call__(self, namespace: str, name: str) -> tuple[str, ...]:
        return self._reach.get(f"{namespace}/{name}", ())

    async def follow(self, changed: Callable[[Collection[str]], None]) -> None:
        """Keeps up until cancelled; tells of accounts (namespace/name) for which something is different."""
        while True:
            watcher = None
            try:
                watcher = self._findings.state.watch(PREFIX, self._findings.state.revision)
                self._look(changed)
                while True:
                    if any(_MARK in event.value for event in await watcher.next()):
                        self._look(changed)
            except (Compacted, WatchEnded):
                await asyncio.sleep(_AGAIN_SECONDS)  # what was missed is in the next look
            finally:
                if watcher is not None:
                    watcher.close()

    def _look(self, changed: Callable[[Collection[str]], None]) -> None:
        found: dict[str, set[str]] = {}
        for row in self._findings.of_source(SOURCE):
            if row.state != RESOLVED and row.check.id in _WORDS:
                found.setdefault(row.subject, set()).add(row.check.id)
        before, self._reach = self._reach, {account: _reach(rules) for account, rules in found.items()}
        differing = {key for key in before.keys() | found.keys() if before.get(key) != self._reach.get(key)}
        if differing:
            changed(differing)


def _reach(rules: Collection[str]) -> tuple[str, ...]:
    """In words; who gets to cluster-admin gets to all else."""
    return (_WORDS[ADMIN.id],) if ADMIN.id in rules else tuple(sorted(_WORDS[rule] for rule in rules))
