"""Keeps findings about images true to what runs and to what the world knows.

Two things set it to work: pods (a container runs an image) and data (something else is said of a package). What runs is
kept pod by pod, so a change costs what it changes. Images are read before there is data too, a while after the start
(when the machine has other things to do), so that the first advisory finds its pods at once. That there is no data is
one finding.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.guard.findings.findings import Findings
from pilothouse.guard.findings.model import Report
from pilothouse.guard.images.inventory.stated import with_sbom
from pilothouse.guard.images.live.account_rights import AccountRights
from pilothouse.guard.images.live.attached_vex import KEYS, AttachedVex
from pilothouse.guard.images.live.gateway_routes import GatewayRoutes
from pilothouse.guard.images.live.index import Index, Key
from pilothouse.guard.images.live.kept import MOST, Kept, Listed, kept, listed_in
from pilothouse.guard.images.live.matching import Matching
from pilothouse.guard.images.live.nodes import images_of, inventory_from
from pilothouse.guard.images.live.reports import DATA_SUBJECT, NO_DATA, SOURCE, Scanned, data_report, report_of
from pilothouse.guard.images.live.schedule import update_on_schedule
from pilothouse.guard.images.live.vex_documents import LABEL as VEX_LABEL
from pilothouse.guard.images.live.vex_documents import NAMESPACE as VEX_NAMESPACE
from pilothouse.guard.images.live.vex_documents import SUBJECT as VEX_SUBJECT
from pilothouse.guard.images.live.vex_documents import broken_report, documents
from pilothouse.guard.images.live.world import ImageWorld, Place
from pilothouse.guard.images.match.matcher import Judged
from pilothouse.guard.images.match.vex import NO_STATEMENTS
from pilothouse.guard.images.match.worker import Changed, Changes, Judge, Reasons
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.places import LAYERS, data_file
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError

log = logging.getLogger(__name__)

NAME: Final = "image-guard"
COVERAGE: Final = "coverage.json"
_POLL_SECONDS: Final = 0.3
_QUIET_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 3600.0
_LIST_SECONDS: Final = 600.0
_DOCUMENTS_SECONDS: Final = 10.0
_LISTS_AT_ONCE: Final = 8
_BATCH: Final = 100
_REPORTS: Final = 16
START_SECONDS: Final = 20.0
LONGEST_DAYS: Final = 7.0


class ImageGuard:
    """The image scanning of one cluster. `folder` holds the data base and known layers."""

    _nodes: Informer[Node]

    def __init__(self, findings: Findings, client: Client, folder: Path) -> None:
        self._findings = findings
        self._client = client
        self._folder = folder
        self._matching = Matching(data_file(folder))
        self._cache: LayerCache | None = None
        self.index = Index()
        self.world = ImageWorld()
        self.world.rights = self._rights = AccountRights(findings)
        self.world.routes = GatewayRoutes(self._touch)
        self.kept: dict[str, Kept] = {}
        """Images that nodes keep and nothing runs."""
        self._listed: dict[str, Sequence[Listed]] = {}
        self._unlisted: set[str] = set()
        self._documents = Informer(client, ConfigMap, namespace=VEX_NAMESPACE, label_selector=VEX_LABEL)
        self._keys = Informer(client, ConfigMap, namespace=VEX_NAMESPACE, field_selector=f"metadata.name={KEYS}")
        self._attached = AttachedVex()
        self._vex = NO_STATEMENTS
        self._vex_unread = False
        self._ready: set[str] = set()
        self._failed: dict[str, tuple[str, float]] = {}
        self._dirty: set[str] = set()
        self._woken = asyncio.Event()
        self._telling = asyncio.Lock()
        self._data = Changed(0, [], False, 0, 0.0)
        self._subscribed = False
        self._quiet_until = 0.0
        self._reported: set[str] = set()

    async def run(self, informers: SharedInformers) -> None:
        """Runs until cancelled; may be run again."""
        self._quiet_until = time.monotonic() + START_SECONDS
        asyncio.get_running_loop().call_later(START_SECONDS + 0.1, self._woken.set)
        views: tuple[type[Object], ...] = (Pod, Service, Ingress, ReplicaSet, Job, Node, Namespace)
        if not self._subscribed:
            self._subscribed = True
            self.world.replica_sets, self.world.jobs = informers.of(ReplicaSet), informers.of(Job)
            self.world.services, self.world.pods = informers.of(Service), informers.of(Pod)
            self.world.ingresses, self._nodes = informers.of(Ingress), informers.of(Node)
            informers.of(Pod).subscribe(self._pod_changed)
            informers.of(Service).subscribe(self._service_changed)
            informers.of(Ingress).subscribe(self._ingress_changed)
            informers.of(Node).subscribe(self._node_changed)
            informers.of(Namespace).subscribe(self._namespace_changed)
            self.world.routes.follow(informers)
            self._documents.subscribe(self._document_changed)
            self._keys.subscribe(self._keys_changed)
        await informers.synced(*views)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._documents.run())
                group.create_task(self._keys.run())
                await self._first_documents()
                group.create_task(self._watch_data())
                group.create_task(update_on_schedule(self._folder))
                group.create_task(self._rights.follow(self._rights_changed))
                group.create_task(self._list_now_and_then())
                self._woken.set()
                while True:
                    await self._woken.wait()
                    await asyncio.sleep(_QUIET_SECONDS)
                    self._woken.clear()
                    await self.settle()
        finally:
            await self._matching.close()

    def _pod_changed(self, key: str, old: Pod | None, new: Pod | None) -> None:
        self.world.touched.add(key)
        self._woken.set()

    def _service_changed(self, key: str, old: Service | None, new: Service | None) -> None:
        if not old or not new or old.spec != new.spec:
            self._touch(key.partition("/")[0])

    def _ingress_changed(self, key: str, old: Ingress | None, new: Ingress | None) -> None:
        if not old or not new or old.spec != new.spec:
            self._touch(key.partition("/")[0])

    def _rights_changed(self, accounts: Collection[str]) -> None:
        for namespace in {account.partition("/")[0] for account in accounts}:
            self._touch(namespace)

    def _touch(self, namespace: str) -> None:
        pods: Informer[Pod] = self.world.pods
        self.world.touched.update(pod.key for pod in pods.in_namespace(namespace))
        self._woken.set()

    def _node_changed(self, key: str, old: Node | None, new: Node | None) -> None:
        if new is None:
            self._unlisted.discard(key)
            self._listed.pop(key, None)
        elif old is None or old.status.images != new.status.images:
            self._unlisted.add(key)
        else:
            return
        self._woken.set()

    def _document_changed(self, key: str, old: ConfigMap | None, new: ConfigMap | None) -> None:
        self._vex_unread = True
        self._woken.set()

    def _keys_changed(self, key: str, old: ConfigMap | None, new: ConfigMap | None) -> None:
        if self._attached.keys_changed(new.data if new is not None else {}):
            self._dirty |= self._reported
            self._woken.set()

    def _namespace_changed(self, key: str, old: Namespace | None, new: Namespace | None) -> None:
        if self._attached.namespace_changed(key, new):
            self._dirty |= {subject for subject in self._reported if self._is_in(subject, key)}
            self._woken.set()

    def _is_in(self, subject: str, namespace: str) -> bool:
        use = self.world.use(subject)
        return use is not None and use.owner.namespace == namespace

    async def _first_documents(self) -> None:
        """Waits for what VEX documents say, so that a restart does not reopen what they silence; not for ever."""
        try:
            async with asyncio.timeout(_DOCUMENTS_SECONDS):
                await self._documents.synced()
                await self._keys.synced()
        except TimeoutError:
            log.warning("VEX documents of %s cannot be listed yet: nothing is silenced by them", VEX_NAMESPACE)

    async def _list_now_and_then(self) -> None:
        """A Node object shows its largest images only, so changes of the others are asked for."""
        while True:
            await asyncio.sleep(_LIST_SECONDS)
            self._unlisted.update(node.key for node in self._nodes)
            self._woken.set()

    async def settle(self) -> None:
        """Works until what is known is told."""
        if not self._data.feeds and time.monotonic() < self._quiet_until:
            return
        if self._cache is None:
            self._cache = await asyncio.to_thread(LayerCache, self._folder / LAYERS)
        self._dirty |= await self.world.take_in()
        self._forget_images()
        for image in await self._attached.take_in(self._cache, self.index.images):
            self._dirty |= self.world.subjects_of(image)
        await self._report()
        for image in list(self.world.images):
            if image in self.world.images and image not in self.index.images and self._due(image):
                await self._read(image)
                await self._report()
        self._dirty |= await self.world.take_in()
        await self._report()
        await self._look_at_kept()
        await asyncio.to_thread(self._write_coverage, self._coverage())

    def _forget_images(self) -> None:
        self.kept = kept(self._listed, self.world.images.keys())
        for image in [image for image in self.index.images if not self._is_there(image)]:
            self.index.remove(image)
            self._ready.discard(image)
        for image in [image for image in self._failed if not self._is_there(image)]:
            del self._failed[image]

    def _is_there(self, image: str) -> bool:
        return image in self.world.images or image in self.kept

    async def _look_at_kept(self) -> None:
        """Reads what nothing runs, until something that runs is to be looked at again."""
        unlisted, self._unlisted = self._unlisted, set()
        limit = asyncio.Semaphore(_LISTS_AT_ONCE)
        await asyncio.gather(*(self._list(node, limit) for node in unlisted))
        self.kept = kept(self._listed, self.world.images.keys())
        for image in list(self.kept)[:MOST]:
            if self.world.touched:
                return
            if image not in self.index.images and self._due(image):
                await self._read(image)

    async def _list(self, key: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            node = self._nodes.get(key)
            try:
                images = await images_of(self._client, key)
            except NotReadable as error:
                log.info("the images of %s are those its Node object shows: %s", key, error)
                images = listed_in(node) if node is not None else []
            if self._nodes.get(key) is not None:
                self._listed[key] = images

    def _due(self, image: str) -> bool:
        return self._failed.get(image, ("", 0.0))[1] <= time.monotonic()

    async def _read(self, image: str) -> None:
        """Takes an image in, from what is kept of it or from a node that has it."""
        assert self._cache is not None
        inventory = await asyncio.to_thread(self._cache.image, image)
        place = self._place(image)
        if inventory is None and place is not None:
            try:
                inventory = await inventory_from(self._client, place.node, place.name, self._cache)
                await asyncio.to_thread(self._cache.put_image, image, inventory)
            except NotReadable as error:
                self._failed[image] = str(error), time.monotonic() + _AGAIN_SECONDS
                self._dirty |= self.world.subjects_of(image)
                asyncio.get_running_loop().call_later(_AGAIN_SECONDS + 1.0, self._woken.set)
                return
        if inventory is None:
            return
        for where, sbom in await asyncio.to_thread(self._cache.sboms, image):
            inventory = with_sbom(inventory, sbom, where)
        await self._attached.know(self._cache, image)
        self._failed.pop(image, None)
        self.index.add(image, inventory)
        if self._data.feeds:
            try:
                (reasons,) = await self._matching.ask(Reasons([inventory]), list[list[str]])
                self.index.reasons[image] = tuple(reasons)
                await self._judge(self.index.unanswered())
            except NotReadable as error:
                log.warning("%s", error)
                self.index.reasons[image] = (str(error),)
        self._ready.add(image)
        self._dirty |= self.world.subjects_of(image)

    def _place(self, image: str) -> Place | None:
        place = self.world.images.get(image)
        unused = self.kept.get(image)
        return Place(unused.nodes[0], unused.ids[0]) if place is None and unused is not None else place

    async def _judge(self, keys: list[Key]) -> None:
        """Asks about packages, and marks what runs images for which the answer is another one. Raises NotReadable."""
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            answers = await self._matching.ask(Judge(list(batch)), list[Judged])
            for key, judged in zip(batch, answers):
                for image in self.index.answer(key, judged):
                    self._dirty |= self.world.subjects_of(image)

    async def _report(self) -> None:
        """Hands in what is marked. One at a time: what was put together first must not be handed in last."""
        async with self._telling:
            if self._vex_unread:
                await self._read_documents()
            subjects, self._dirty = sorted(self._dirty), set()
            await self._tell(subjects)
            self.index.release()

    async def _read_documents(self) -> None:
        """What VEX documents say may be about anything that runs."""
        self._vex_unread = False
        self._vex, broken = await asyncio.to_thread(documents, list(self._documents))
        self._dirty |= self._reported
        await self._hand_in([broken_report(SOURCE, broken)])

    async def _tell(self, subjects: list[str]) -> None:
        scanned: dict[str, Scanned] = {}
        batch: list[Report] = []
        for subject in subjects:
            use = self.world.use(subject)
            if use is None:
                if subject in self._reported:
                    self._reported.discard(subject)
                    batch.append(Report(SOURCE, subject, ()))
            elif all(image in self._ready or image in self._failed for image in use.pods):
                # What is not read yet is marked once it is: until then what was found before stands.
                for image in use.pods:
                    if image not in scanned:
                        scanned[image] = self._scanned(image)
                self._reported.add(subject)
                vex = self._attached.heard(use.owner.namespace, use.pods, self._vex)
                batch.append(report_of(use, scanned, self._data.generation, vex, time.time()))
            if len(batch) >= _REPORTS:
                await self._hand_in(batch)
                batch = []
            await asyncio.sleep(0)
        await self._hand_in(batch)

    def _scanned(self, image: str) -> Scanned:
        inventory = self.index.images.get(image) if image in self._ready else None
        if inventory is not None:
            return Scanned(inventory, *self.index.flaws(image))
        reason = self._failed.get(image)
        return Scanned(None, (), (reason[0],) if reason else ())

    async def _hand_in(self, batch: list[Report]) -> None:
        while batch:
            try:
                await self._findings.report(batch)
                return
            except ApiError as error:
                log.warning("%s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _watch_data(self) -> None:
        """Looks whether the data base is another one: two looks at a file's date, some times a second."""
        stamp: object = None
        looked = -math.inf  # a monotonic clock may begin at the start of the machine
        while True:
            now = _stamp(data_file(self._folder))
            if now != stamp or time.monotonic() - looked > _LOOK_SECONDS:
                stamp, looked = now, time.monotonic()
                try:
                    await self.take_data(now is not None)
                except NotReadable as error:
                    log.warning("%s", error)
                    stamp = object()
                    await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(_POLL_SECONDS)

    async def take_data(self, there: bool = True) -> None:
        """Takes in what the data base says now: looks again at what has changed, and at nothing else."""
        before = self._data
        after = await self._matching.ask(Changes(before.generation), Changed) if there else before
        self._data = after
        try:
            if not before.feeds:
                await self._begin()
            elif after.generation != before.generation:
                await self._follow(after)
        except NotReadable:
            self._data = before  # what has changed since then is still to be looked at
            raise
        days = (time.time() - after.checked) / 86400
        await self._hand_in([data_report(after.feeds, days, LONGEST_DAYS)])

    async def _begin(self) -> None:
        """From the first data on; forgets what was kept of workloads that are no more."""
        if self._data.feeds:
            self._dirty |= await self.world.take_in()
            self._reported |= self.world.subjects()
            await self._findings.retain(SOURCE, {DATA_SUBJECT, VEX_SUBJECT, *self.world.subjects()})
            await self._judge(self.index.unanswered())
            await self._report()
            await self._reconsider_reasons()
            self._woken.set()

    async def _follow(self, changed: Changed) -> None:
        keys = self.index.all_keys() if changed.packages is None else self.index.affected(changed.packages)
        if changed.risk:
            keys = list(dict.fromkeys([*keys, *self.index.with_flaws()]))
        await self._judge(keys)
        await self._report()
        await self._reconsider_reasons()
        await self._report()
        self._woken.set()  # for the coverage

    async def _reconsider_reasons(self) -> None:
        """New data may cover what had none."""
        for image, inventory in list(self.index.images.items()):
            (reasons,) = await self._matching.ask(Reasons([inventory]), list[list[str]])
            if image in self.index.images and self.index.reasons.get(image) != tuple(reasons):
                self.index.reasons[image] = tuple(reasons)
                self._dirty |= self.world.subjects_of(image)

    def _coverage(self) -> bytes:
        """What is known of each image that runs, or that a node keeps."""
        images = {image: self._known_of(image) | {"running": True} for image in self.world.images}
        for image, entry in self.kept.items():
            images[image] = self._known_of(image) | {"running": False, "names": entry.names, "nodes": entry.nodes}
        for image in list(self.kept)[MOST:]:
            images[image]["reasons"] = [f"nothing runs it, and {MOST} such images are read at most"]
        return msgspec.json.encode({"generation": self._data.generation, "time": time.time(), "images": images})

    def _known_of(self, image: str) -> dict[str, Any]:
        about = self._scanned(image)
        if about.inventory is not None and not self._data.feeds:
            about.reasons = (NO_DATA.title,)
        return {
            "scanned": about.inventory is not None and bool(self._data.feeds),
            "packages": len(about.inventory.packages) if about.inventory else 0,
            "flaws": len(about.flaws),
            "reasons": list(about.reasons),
        }

    def _write_coverage(self, data: bytes) -> None:
        assert self._cache is not None
        fresh = self._folder / f"{COVERAGE}.new"
        try:
            fresh.write_bytes(data)
            fresh.rename(self._folder / COVERAGE)
        except OSError as error:
            log.warning("%s: %s", self._folder / COVERAGE, error)
        self._cache.retain_images(list(self.index.images))


def _stamp(file: Path) -> object:
    """What changes when the data base does, None when there is none."""
    found = []
    for path in (file, file.with_name(f"{file.name}-wal")):
        try:
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size))
        except FileNotFoundError:
            found.append((0, 0))
    return tuple(found) if found[0] != (0, 0) else None
