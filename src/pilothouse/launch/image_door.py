"""The admission step of images at the door: a namespace's policy, asked when a pod is made or gets another image."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.door.policy import BadPolicy, Policy, of_facts, of_name, policy_of
from pilothouse.guard.images.live.vex_documents import LABEL, documents
from pilothouse.guard.images.live.vex_documents import NAMESPACE as VEX_NAMESPACE
from pilothouse.guard.images.match.vex import NO_STATEMENTS, Statements, named
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.reference import parse
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj

_LISTS = ("initContainers", "containers", "ephemeralContainers")


class ImageDoor:
    """Checks pods against their namespace's policy, and policies when they are written."""

    def __init__(self, objects: ObjectReader, door: Door) -> None:
        self._objects = objects
        self._door = door
        self._statements = NO_STATEMENTS
        self._read_at = -1

    async def validate(self, request: AdmissionRequest) -> None:
        """Raises Forbidden."""
        if request.object is None or request.operation not in ("CREATE", "UPDATE"):
            return
        if request.resource == Namespace.resource and not request.subresource:
            _policy(request.object, request.resource.plural, request.name)
        elif request.resource == Pod.resource and request.subresource in ("", "ephemeralcontainers"):
            await self._pod(request)

    async def _pod(self, request: AdmissionRequest) -> None:
        namespace = self._objects.get(Namespace.resource, "", request.namespace)
        policy = _policy(namespace, "pods", request.name) if namespace is not None else None
        if policy is None or request.object is None:
            return
        before = set(_images(request.old_object))
        wanted = list(dict.fromkeys(image for image in _images(request.object) if image not in before))
        against: list[str] = []
        for image, (bad, warnings) in zip(wanted, await asyncio.gather(*(self._judged(i, policy) for i in wanted))):
            against += [f'image "{image}": {text}' for text in bad]
            request.warnings += [f'image "{image}": {text}' for text in warnings]
        if against:
            raise Forbidden(
                f'pods "{request.name}" is forbidden: violates the image policy of namespace "{request.namespace}": '
                + "; ".join(against)
            )

    async def _judged(self, image: str, policy: Policy) -> tuple[list[str], list[str]]:
        try:
            reference = parse(image)
        except NotReadable as error:
            return [str(error)], []
        against = of_name(policy, reference)
        if against or not policy.scans:
            return against, []
        facts = await self._door.facts(image)
        left, _ = (await self._vex()).split(facts.flaws, named(str(reference), facts.digests))
        return of_facts(policy, msgspec.structs.replace(facts, flaws=tuple(left)))

    async def _vex(self) -> Statements:
        """What the cluster's VEX documents say, read again when a ConfigMap is another one."""
        revision = self._objects.revision(ConfigMap.resource)
        if revision != self._read_at:
            trees = self._objects.list(ConfigMap.resource, VEX_NAMESPACE)
            maps = [from_tree(ConfigMap, tree) for tree in trees if LABEL in (tree["metadata"].get("labels") or {})]
            self._statements, _ = await asyncio.to_thread(documents, maps)
            self._read_at = revision
        return self._statements


def _policy(namespace: Obj, plural: str, name: str) -> Policy | None:
    annotations = (namespace.get("metadata") or {}).get("annotations") or {}
    try:
        return policy_of(annotations)
    except BadPolicy as error:
        raise Forbidden(f'{plural} "{name}" is forbidden: metadata.annotations: {error}') from error


def _images(pod: Obj | None) -> Iterator[str]:
    spec = (pod or {}).get("spec") or {}
    for key in _LISTS:
        for container in spec.get(key) or ():
            if container.get("image"):
                yield str(container["image"])
