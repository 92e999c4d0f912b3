"""The admission step of images at the door: a namespace's policy, asked when a pod is made or gets another image."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.door.policy import BadPolicy, Policy, of_facts, of_name, policy_of
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.reference import parse
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj

_LISTS = ("initContainers", "containers", "ephemeralContainers")


class ImageDoor:
    """Checks pods against their namespace's policy, and policies when they are written."""

    def __init__(self, objects: ObjectReader, door: Door) -> None:
        self._objects = objects
        self._door = door

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
        return of_facts(policy, await self._door.facts(image))


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
