"""The exemptions there are, what they accept, and findings about those that nobody needs or whose time is over."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.guard.exemptions.accept import expired, in_force, means
from pilothouse.guard.finding import Check, Finding, Ref, Severity
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found, Report, Row
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.kinds.guard.finding import ACCEPTED
from pilothouse.machinery.errors import NotFound
from pilothouse.machinery.objects import parse_timestamp, timestamp

SOURCE = "exemptions"
_UNUSED_AFTER = dt.timedelta(days=1)
UNUSED = Check(
    "exemption-unused",
    "Exemption that accepts nothing",
    Severity.LOW,
    "hygiene",
    "It waits for a mistake that it will hide.",
    "# delete it: kubectl delete exemption NAME",
)
EXPIRED = Check(
    "exemption-expired",
    "Exemption that has ended",
    Severity.MEDIUM,
    "hygiene",
    "What it accepted is open again, and nobody has looked at it since.",
    "# mend what it was about, or ask anew: set spec.expires",
)


class Exemptions:
    """Exemptions as an informer sees them. `changed(namespace)` is called when one of a namespace may be another."""

    def __init__(
        self,
        informer: Informer[Exemption],
        changed: Callable[[str], None],
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._now = now
        self._changed = changed
        self._by_namespace: dict[str, dict[str, Exemption]] = {}
        self._active: set[str] = set()
        self._reported = True
        """Whether something may have been said of exemptions; true at first, for what an earlier process said."""
        informer.subscribe(self._follow)

    def _follow(self, key: str, old: Exemption | None, new: Exemption | None) -> None:
        namespace = key.partition("/")[0]
        held = self._by_namespace.setdefault(namespace, {})
        held.pop(key, None)
        if new is not None:
            held[key] = new
        if old is None or new is None or old.spec != new.spec or old.status.approval != new.status.approval:
            self._changed(namespace)

    def accepting(self, finding: Finding, namespace: str, labels: Mapping[str, str]) -> str:
        """The key of the first exemption in force that accepts a finding, "" when none does."""
        now = self._now()
        held = self._by_namespace.get(namespace) or {}
        return next((key for key in sorted(held) if in_force(held[key], now) and means(held[key], finding, labels)), "")

    async def look(self, client: Client, findings: Findings) -> None:
        """Counts what each accepts, says which are over or without use, and reopens what an ended one accepted."""
        now = self._now()
        if not any(self._by_namespace.values()) and not self._reported:
            return
        every = {key: exemption for held in self._by_namespace.values() for key, exemption in held.items()}
        active = {key for key, exemption in every.items() if in_force(exemption, now)}
        for namespace in {key.partition("/")[0] for key in active ^ self._active}:
            await findings.reconsider(namespace)
        self._active = active
        used = await asyncio.to_thread(_used, findings.state.select())
        for key, exemption in every.items():
            await self._count(client, exemption, used[key])
        await findings.report([Report(SOURCE, key, _wrong(every[key], used[key], now)) for key in every])
        await findings.retain(SOURCE, set(every))
        self._reported = bool(every)

    async def _count(self, client: Client, exemption: Exemption, used: int) -> None:
        if exemption.status.used == used:
            return
        status: dict[str, object] = {"used": used}
        if used:
            status["lastUsed"] = timestamp(self._now())
        try:
            await client.patch(
                Exemption, exemption.name, exemption.namespace, {"status": status}, type="merge", subresource="status"
            )
        except NotFound:
            return


def _used(rows: Iterable[Row]) -> Counter[str]:
    """How many findings each exemption accepts."""
    return Counter(row.exemption for row in rows if row.state == ACCEPTED)


def _wrong(exemption: Exemption, used: int, now: dt.datetime) -> tuple[Found, ...]:
    ref = Ref(exemption.resource.api_version, "Exemption", exemption.namespace, exemption.name)
    if expired(exemption, now):
        return (Found(Finding(EXPIRED, ref, f"ended on {exemption.spec.expires}", "", "spec.expires")),)
    status = exemption.status
    since = status.last_used or status.decided_at
    if used or not in_force(exemption, now) or not since or now - parse_timestamp(since) <= _UNUSED_AFTER:
        return ()
    return (Found(Finding(UNUSED, ref, "accepts no finding", "", "spec.rules")),)
