"""Keeps the findings of the configuration checks true to what runs: informers in, judgements, reports out.

Judging holds the event loop for about a millisecond at a time (one object, or one check in one namespace); between two
judgements everything else gets its turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import orjson

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.guard.access import watch as access
from pilothouse.guard.exemptions.watch import Exemptions
from pilothouse.guard.finding import Finding, Ref
from pilothouse.guard.findings.files import report_on
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Report, home
from pilothouse.guard.findings.owners import BadMapping, Entry, owner_of, parse_mapping
from pilothouse.guard.judge import shipped_evaluator
from pilothouse.guard.live.checks import SOURCE, LiveChecks
from pilothouse.guard.live.dependencies import PODS
from pilothouse.guard.live.documents import Taken, Whole, taken_view, trim, trimmed, whole_view
from pilothouse.guard.live.kinds import checked_kinds
from pilothouse.guard.live.own import SOURCE as OWN
from pilothouse.guard.live.own import OwnLive, Pending
from pilothouse.guard.live.world import Place, World
from pilothouse.kinds.admissionregistration.validating_admission_policy import ValidatingAdmissionPolicy
from pilothouse.kinds.admissionregistration.validating_admission_policy_binding import ValidatingAdmissionPolicyBinding
from pilothouse.kinds.guard.exemption import Exemption
from pilothouse.machinery.errors import ApiError
from pilothouse.machinery.objects import Resource

log = logging.getLogger(__name__)

NAME = "live-checks"
_BATCH = 64
_TAKEN_AT_ONCE = 16
_RETRY_SECONDS = 5.0
_LOOK_SECONDS = 15.0


class Owners:
    """Who owns what, by the world and a mapping file, which is read again when it changes."""

    def __init__(self, world: World, file: Path | None = None) -> None:
        self._world = world
        self._file = file
        self._stamp: object = None
        self._mapping: list[Entry] = []
        self.problem = ""
        """What is wrong with the mapping file, "" when nothing is."""

    def __call__(self, ref: Ref) -> str:
        return owner_of(ref, self._world.known, self._mapping)

    def refresh(self) -> bool:
        """Reads the mapping file when it is another one than before. Whether it was; a mistake in it is logged, and the
        last good one stays in force."""
        if self._file is None:
            return False
        try:
            status = self._file.stat()
            stamp: object = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            stamp = None
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self._mapping = parse_mapping(self._file.read_text(), str(self._file)) if stamp else []
        except (BadMapping, OSError, UnicodeDecodeError) as error:
            self.problem = str(error)
            log.error("owners: %s", error)
            return False
        self.problem = ""
        return True


class Live:
    """The live checks of one cluster; it is what findings ask for owners and exemptions."""

    def __init__(self, findings: Findings, *, mapping: Path | None = None) -> None:
        self._findings = findings
        self.world = World()
        self.owners = Owners(self.world, mapping)
        self.checks = LiveChecks(self.world, self.owner)
        self.own = OwnLive(self.world)
        self._woken = asyncio.Event()
        self._incoming: dict[Place, bytes] = {}
        self._touched: set[str] = set()
        self._followed: list[Informer[Whole]] = []
        self._policies: list[Informer[Taken]] = []
        self._exemptions: Exemptions | None = None
        self._rights_changed = True

    def owner(self, ref: Ref) -> str:
        return self.owners(ref)

    def exemption(self, finding: Finding) -> str:
        if self._exemptions is None:
            return ""
        known = self.world.known(finding.ref)
        return self._exemptions.accepting(finding, home(finding.ref), known.labels if known else {})

    async def run(self, client: Client, informers: SharedInformers) -> None:
        """Runs until cancelled; may be run again. `client` writes how much exemptions are used."""
        evaluator, _ = await asyncio.to_thread(shipped_evaluator)
        for _ in evaluator.prepare((resource.api_version, resource.kind) for resource in checked_kinds()):
            await asyncio.sleep(0)
        if not self._followed:
            self._followed = [informers.of(whole_view(resource)) for resource in checked_kinds()]
            for informer in self._followed:
                informer.subscribe(self._follower(informer.view.resource))
            self._exemptions = Exemptions(informers.of(Exemption), self._touch)
            for view in (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding):
                policies = informers.of(taken_view(view.resource))
                policies.subscribe(self._follow_own(view.resource.kind))
                self._policies.append(policies)
        await informers.synced(Exemption)
        for informer in self._followed:
            await informer.synced()
        for policies in self._policies:
            await policies.synced()
        await self._begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_around(client))
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self.settle()

    def _touch(self, namespace: str) -> None:
        """Owners or exemptions of a namespace's findings may be others."""
        self._touched.add(namespace)
        self._woken.set()

    async def settle(self) -> None:
        """Judges until nothing is marked."""
        while self._incoming or len(self.checks) or len(self.own) or self._touched:
            await self._take_in()
            touched, self._touched = self._touched, set()
            batch: list[Report] = []
            while len(self.checks) and len(batch) < _BATCH:
                batch.append(self.checks.step())
                await asyncio.sleep(0)
            while len(self.own) and len(batch) < _BATCH:
                batch += await self._own_step()
            if batch:
                await self._report(batch)
            for space in touched:
                await self._findings.reconsider(space)

    async def _own_step(self) -> list[Report]:
        """Expressions of users' own checks may take two seconds: they are evaluated in a thread."""
        found = self.own.next()
        if isinstance(found, Pending):
            return [self.own.judged(found, await asyncio.to_thread(self.own.judge, found))]
        await asyncio.sleep(0)
        return found

    async def _take_in(self) -> None:
        """Puts what informers told in its place, a few objects at a time."""
        while self._incoming:
            for place in list(self._incoming)[:_TAKEN_AT_ONCE]:
                document = self._incoming.pop(place)
                fresh = trimmed(document) if document else b""
                known = self.world.entries.get(place)
                if known is not None and known.document == fresh:
                    continue  # its status alone is another
                self._rights_changed |= place[0] in access.RBAC_KINDS or place[0] in PODS
                if not fresh:
                    self.checks.remove(place)
                elif self.checks.put(fresh):
                    self._touched.add(place[2] if place[0] == "Namespace" else place[1])
                self.own.touch(place)
            await asyncio.sleep(0)

    async def _begin(self) -> None:
        """Judges what changed while nobody looked, and forgets what is no more."""
        self._findings.world = self
        self.owners.refresh()
        await self._report([report_on("owners", self.owners.problem)])
        await self._take_in()
        self._touched.clear()
        for _ in self.checks.mark_all(lambda subject: self._findings.basis(SOURCE, subject)):
            await asyncio.sleep(0)
        await self.settle()
        await self._findings.retain(SOURCE, self.checks.subjects())
        await self._findings.retain(OWN, self.own.subjects())
        await self._findings.reconsider()

    async def _report(self, batch: list[Report]) -> None:
        """Tries until it is kept: what is marked no more must not be lost."""
        while True:
            try:
                return await self._findings.report(batch)
            except ApiError as error:
                log.warning("%s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)

    def _follower(self, resource: Resource) -> Callable[[str, Whole | None, Whole | None], None]:
        def follow(key: str, old: Whole | None, new: Whole | None) -> None:
            namespace, _, name = key.rpartition("/")
            gone = new is None or new.metadata.deletion_timestamp
            self._incoming[resource.kind, namespace, name] = b"" if gone or new is None else new.take()
            self._woken.set()

        return follow

    def _follow_own(self, kind: str) -> Callable[[str, Taken | None, Taken | None], None]:
        def follow(key: str, old: Taken | None, new: Taken | None) -> None:
            self.own.take(kind, key, None if new is None else trim(orjson.loads(new.take())))
            self._woken.set()

        return follow

    async def _look_at_rights(self) -> None:
        """Where rights lead is looked at when they changed: one binding may matter to every account."""
        if not self._rights_changed:
            return
        self._rights_changed = False
        cluster = await asyncio.to_thread(access.cluster_of, access.documents_of(self.world))
        found = await asyncio.to_thread(access.reports, cluster, sorted(self.world.accounts))
        await self._findings.report(found)
        await self._findings.retain(access.SOURCE, {report.subject for report in found})

    async def _look_around(self, client: Client) -> None:
        """What time or a file changes, and no informer tells."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                if self._exemptions is not None:
                    await self._exemptions.look(client, self._findings)
                await self._look_at_rights()
                await self._findings.report([report_on("owners", self.owners.problem)])
            except ApiError as error:
                log.warning("%s", error.message)
            if self.owners.refresh():
                for _, space in list(self.world.spaces):
                    self.checks.mark_owners(space)
                await self._findings.reconsider()
                self._woken.set()
