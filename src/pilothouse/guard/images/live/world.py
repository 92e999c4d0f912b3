"""What runs, kept pod by pod: images with a node that has them, and workloads' containers that use them."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, cast

from pilothouse.client.informer import Informer
from pilothouse.guard.images.live.exposure import RightsOf
from pilothouse.guard.images.live.gateway_routes import GatewayRoutes
from pilothouse.guard.images.live.uses import Running, Use, nobodys, running, uses
from pilothouse.kinds.apps.replica_set import ReplicaSet
from pilothouse.kinds.batch.job import Job
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.view import OwnerReference

_AT_ONCE = 20


class Place(NamedTuple):
    """A node that has an image, and the name under which its runtime knows it."""

    node: str
    name: str


class ImageWorld:
    """`touched` names pods (namespace/name) that are to be looked at again."""

    pods: Informer[Pod]
    services: Informer[Service]
    ingresses: Informer[Ingress]
    replica_sets: Informer[ReplicaSet]
    jobs: Informer[Job]

    def __init__(self) -> None:
        self.touched: set[str] = set()
        self.rights: RightsOf = nobodys
        self.routes = GatewayRoutes(lambda namespace: None)
        self.images: dict[str, Place] = {}
        self._of_pod: dict[str, tuple[Running, ...]] = {}
        self._of_subject: dict[str, set[str]] = {}
        self._of_image: dict[str, set[str]] = {}
        """Pods by image."""

    async def take_in(self) -> set[str]:
        """Looks at touched pods, a few at a time; the subjects for which something is different."""
        changed: set[str] = set()
        count = 0
        while self.touched:
            changed |= self._look(self.touched.pop())
            count += 1
            if not count % _AT_ONCE:
                await asyncio.sleep(0)
        return changed

    def _look(self, key: str) -> set[str]:
        pod = self.pods.get(key)
        now = self._running(pod) if pod is not None else ()
        before = self._of_pod.get(key, ())
        if now == before:
            return set()
        self._forget(key, before)
        if now:
            self._of_pod[key] = now
        for entry in now:
            self._of_subject.setdefault(_subject(entry), set()).add(key)
            if entry.image:
                self._of_image.setdefault(entry.image, set()).add(key)
                self.images[entry.image] = Place(entry.node, entry.image_id)
        return {_subject(entry) for entry in (*before, *now)}

    def _running(self, pod: Pod) -> tuple[Running, ...]:
        namespace = pod.metadata.namespace
        services, ingresses = self.services.in_namespace(namespace), self.ingresses.in_namespace(namespace)
        others = {namespace: self.routes.of(namespace)}
        return tuple(running([pod], services, self._owner, ingresses, self.rights, others))

    def _forget(self, key: str, before: tuple[Running, ...]) -> None:
        self._of_pod.pop(key, None)
        for entry in before:
            for index, value in ((self._of_subject, _subject(entry)), (self._of_image, entry.image)):
                pods = index.get(value)
                if pods is not None:
                    pods.discard(key)
                    if not pods:
                        del index[value]
            if entry.image and entry.image not in self._of_image:
                self.images.pop(entry.image, None)

    def _owner(self, namespace: str, reference: OwnerReference) -> OwnerReference | None:
        informers: dict[str, Informer[Any]] = {"ReplicaSet": self.replica_sets, "Job": self.jobs}
        informer = informers.get(reference.kind)
        found = informer.get(f"{namespace}/{reference.name}") if informer is not None else None
        return cast("OwnerReference | None", found.controller()) if found is not None else None

    def subjects(self) -> set[str]:
        """All that findings are kept under."""
        return set(self._of_subject)

    def subjects_of(self, image: str) -> set[str]:
        """The subjects that run an image."""
        pods = self._of_image.get(image, ())
        return {_subject(entry) for key in pods for entry in self._of_pod[key] if entry.image == image}

    def use(self, subject: str) -> Use | None:
        """One container of a workload, None when it does not run any more."""
        pods = self._of_subject.get(subject, ())
        entries = [entry for key in sorted(pods) for entry in self._of_pod[key] if _subject(entry) == subject]
        return uses(entries).get(subject)


def _subject(entry: Running) -> str:
    return f"{entry.owner}/{entry.container}"
