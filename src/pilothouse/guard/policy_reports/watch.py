"""Keeps findings true to the report objects there are, of whichever kinds are installed. Of an object that was read
nothing is kept but its name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from pilothouse.client.shared import SharedInformers
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Found
from pilothouse.guard.live.documents import Taken, taken_view
from pilothouse.guard.policy_reports.format import is_report
from pilothouse.guard.policy_reports.known import Known, subject_of
from pilothouse.guard.policy_reports.read import is_ours, read_report
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Resource
from pilothouse.reconcile.custom_resources import follow

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 5.0


def _said(document: bytes) -> Mapping[str, tuple[Found, ...]]:
    tree = orjson.loads(document)
    return {} if is_ours(tree) else read_report(tree)


class PolicyReports:
    """The reports of one cluster."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._known = Known(findings.state.rows.values())
        self._incoming: dict[str, bytes] = {}
        self._present: set[str] = set()
        self._woken = asyncio.Event()
        self._following = False
        self._started: list[Resource] = []

    async def run(self, informers: SharedInformers) -> None:
        """Runs until cancelled; may be run again."""
        await informers.synced(CustomResourceDefinition)
        if not self._following:
            self._following = True
            follow(informers, lambda resource: self._comes(informers, resource), lambda r: self._goes(informers, r))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forget_what_went(informers))
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._settle()

    def _comes(self, informers: SharedInformers, resource: Resource) -> None:
        if is_report(resource):
            self._started.append(resource)
            informers.of(taken_view(resource)).subscribe(self._follower(resource))

    def _goes(self, informers: SharedInformers, resource: Resource) -> None:
        if is_report(resource):
            informers.drop(taken_view(resource))
            self._started = [kept for kept in self._started if kept != resource]
            for subject in self._known.of_kind(resource):
                self._note(subject, b"")

    def _follower(self, resource: Resource) -> Callable[[str, Taken | None, Taken | None], None]:
        def follow(key: str, old: Taken | None, new: Taken | None) -> None:
            namespace, _, name = key.rpartition("/")
            gone = new is None or new.metadata.deletion_timestamp
            self._note(subject_of(resource, namespace, name), b"" if gone or new is None else new.take())

        return follow

    def _note(self, subject: str, document: bytes) -> None:
        self._incoming[subject] = document
        (self._present.add if document else self._present.discard)(subject)
        self._woken.set()

    async def _settle(self) -> None:
        while self._incoming:
            subject = next(iter(self._incoming))
            document = self._incoming.pop(subject)
            if not document:
                reports = self._known.remove(subject)
            else:
                reports = self._known.put(subject, await asyncio.to_thread(_said, document))
            while reports:
                try:
                    await self._findings.report(reports)
                    break
                except ApiError as error:
                    log.warning("%s", error.message)
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _forget_what_went(self, informers: SharedInformers) -> None:
        """Once all kinds that are installed were read: what was kept of others belongs to reports that are no more."""
        for resource in list(self._started):
            await informers.of(taken_view(resource)).synced()
        for subject in self._known.subjects - self._present:
            self._note(subject, b"")
