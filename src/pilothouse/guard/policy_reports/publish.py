"""Keeps report objects true to the findings, while a kind for them is installed.

It looks every few seconds, and writes where a namespace's findings are others than they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Iterable
from typing import Final

import orjson

from pilothouse.client.client import Client
from pilothouse.client.shared import SharedInformers
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Row, finding_of
from pilothouse.guard.live.checks import UNCHECKED
from pilothouse.guard.live.documents import taken_view
from pilothouse.guard.policy_reports.format import (
    ERROR,
    FAIL,
    MANAGED_BY,
    OPEN_REPORTS,
    OWN_NAME,
    POLICY_REPORTS,
    SKIP,
    is_report,
)
from pilothouse.guard.policy_reports.known import is_reported
from pilothouse.guard.policy_reports.write import Entry, report_object
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.guard.finding import ACCEPTED, RESOLVED
from pilothouse.machinery.errors import ApiError, NotFound
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.reconcile.custom_resources import resource_of

log = logging.getLogger(__name__)
_PAUSE_SECONDS: Final = 10.0
_LOOKED_AT_ONCE: Final = 2_000
Stamp = tuple[int, int]
"""Number and highest revision of a namespace's findings: another one when they are."""


class Publishing:
    """The report objects of one cluster that are ours."""

    def __init__(self, findings: Findings, client: Client, *, pause: float = _PAUSE_SECONDS) -> None:
        self._findings = findings
        self._client = client
        self._pause = pause
        self._target: tuple[Resource, ...] = ()
        self._stamps: dict[str, Stamp] = {}
        self._written: dict[str, bytes] = {}

    async def run(self, informers: SharedInformers) -> None:
        """Runs until cancelled; may be run again."""
        await informers.synced(CustomResourceDefinition)
        self._target = ()
        while True:
            try:
                target = chosen(informers.of(CustomResourceDefinition))
                if target != self._target:
                    await self._begin(target)
                if target:
                    await self._look()
            except ApiError as error:
                # The kinds have just come or gone: what is written is looked at afresh.
                log.warning("report objects: %s", error.message)
                self._target = ()
            await asyncio.sleep(self._pause)

    async def _begin(self, target: tuple[Resource, ...]) -> None:
        """Another kind to write: nothing is known of its objects but their names."""
        self._target = target
        self._stamps.clear()
        self._written.clear()
        for resource in target:
            held = await self._client.list(taken_view(resource), label_selector=f"{MANAGED_BY}={OWN_NAME}")
            for found in held.items:
                if found.metadata.name == OWN_NAME:
                    self._written[found.metadata.namespace] = b""

    async def _look(self) -> None:
        spaces: dict[str, list[Row]] = {}
        for number, row in enumerate(list(self._findings.state.rows.values())):
            if number % _LOOKED_AT_ONCE == _LOOKED_AT_ONCE - 1:
                await asyncio.sleep(0)
            if row.state != RESOLVED and not is_reported(row):
                spaces.setdefault(row.ref.namespace, []).append(row)
        stamps = {space: (len(of), max(row.revision for row in of)) for space, of in spaces.items()}
        for space in self._written.keys() - spaces.keys():
            await self._remove(space)
        for space, of in spaces.items():
            if stamps[space] != self._stamps.get(space) and await self._write(space, of):
                self._stamps[space] = stamps[space]

    async def _write(self, space: str, rows: Iterable[Row]) -> bool:
        """Whether it says what it should; what failed is tried again with the next look."""
        resource = self._resource(space)
        tree = await asyncio.to_thread(_object, space, rows, resource)
        digest = hashlib.blake2b(orjson.dumps(tree), digest_size=16).digest()
        if self._written.get(space) == digest:
            return True
        try:
            await self._client.patch(
                taken_view(resource), OWN_NAME, space or None, tree, type="apply", field_manager=OWN_NAME, force=True
            )
        except NotFound:
            return True  # the namespace, or the kind, has just gone
        except ApiError as error:
            log.warning("the report of %s: %s", space or "what is in no namespace", error.message)
            return False
        self._written[space] = digest
        return True

    async def _remove(self, space: str) -> None:
        with contextlib.suppress(NotFound):
            await self._client.delete(taken_view(self._resource(space)), OWN_NAME, space or None)
        del self._written[space]
        self._stamps.pop(space, None)

    def _resource(self, space: str) -> Resource:
        return next(resource for resource in self._target if resource.namespaced == bool(space))


def _object(space: str, rows: Iterable[Row], resource: Resource) -> Obj:
    entries = [Entry(finding_of(row), _result(row)) for row in sorted(rows, key=lambda row: row.key)]
    return report_object(space, entries, resource.group, resource.version)


def _result(row: Row) -> str:
    if row.state == ACCEPTED:
        return SKIP
    return ERROR if row.check.id == UNCHECKED.id else FAIL


def chosen(definitions: Iterable[CustomResourceDefinition]) -> tuple[Resource, ...]:
    """The kinds to write: both of a group that is installed with both, the working group's rather than its successor's,
    since dashboards that read the latter read the former too."""
    served = [resource_of(definition) for definition in definitions]
    for group in (POLICY_REPORTS, OPEN_REPORTS):
        kinds = [kind for kind in served if kind is not None and kind.group == group and is_report(kind)]
        if len(kinds) == 2:
            return tuple(sorted(kinds))
    return ()
