"""The admission step of images at the door: a namespace's policy, asked when a pod is made or gets another image."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.guard.images.door.ask import Door
from pilothouse.guard.images.door.policy import BadPolicy, Facts, Policy, of_facts, of_name, policy_of
from pilothouse.guard.images.door.question import Question
from pilothouse.guard.images.live.attached_vex import KEYS
from pilothouse.guard.images.live.vex_documents import LABEL, documents
from pilothouse.guard.images.live.vex_documents import NAMESPACE as VEX_NAMESPACE
from pilothouse.guard.images.match.vex import NO_STATEMENTS, Statements, named, statements_of
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.reference import parse
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Obj
from pilothouse.node.images.credentials import credentials_for
from pilothouse.node.images.reference import InvalidImageName
from pilothouse.node.images.reference import parse as parse_name

_LISTS = ("initContainers", "containers", "ephemeralContainers")


_WHERE: Final = f"ConfigMap {VEX_NAMESPACE}/{KEYS}"


class ImageDoor:
    """Checks pods against their namespace's policy, and policies when they are written.

    Where images must be signed, their names get the digest that was: a tag may name another image when the node pulls.
    """

    def __init__(self, objects: ObjectReader, door: Door) -> None:
        self._objects = objects
        self._door = door
        self._statements = NO_STATEMENTS
        self._read_at = -1

    async def mutate(self, request: AdmissionRequest) -> None:
        """Writes signed digests into new images' names; refuses nothing."""
        policy = self._policy_for(request)
        if policy is not None and policy.signed_by and request.object is not None:
            before = set(_images(request.old_object))
            new = [container for container in _containers(request.object) if str(container["image"]) not in before]
            secrets = self._secrets(request)
            pinned = await asyncio.gather(*(self._pinned(str(entry["image"]), policy, secrets) for entry in new))
            for container, name in zip(new, pinned):
                container["image"] = name

    async def validate(self, request: AdmissionRequest) -> None:
        """Raises Forbidden."""
        if request.object is None or request.operation not in ("CREATE", "UPDATE"):
            return
        if request.resource == Namespace.resource and not request.subresource:
            _policy(request.object, request.resource.plural, request.name)
        policy = self._policy_for(request)
        if policy is not None:
            await self._pod(request, policy)

    def _policy_for(self, request: AdmissionRequest) -> Policy | None:
        """The policy that a pod comes under; None for all else. Raises Forbidden."""
        written = request.object is not None and request.operation in ("CREATE", "UPDATE")
        if not written or request.resource != Pod.resource or request.subresource not in ("", "ephemeralcontainers"):
            return None
        namespace = self._objects.get(Namespace.resource, "", request.namespace)
        return _policy(namespace, "pods", request.name) if namespace is not None else None

    async def _pod(self, request: AdmissionRequest, policy: Policy) -> None:
        before = set(_images(request.old_object))
        wanted = list(dict.fromkeys(image for image in _images(request.object) if image not in before))
        secrets = self._secrets(request)
        judged = await asyncio.gather(*(self._judged(image, policy, secrets) for image in wanted))
        against: list[str] = []
        for image, (bad, warnings) in zip(wanted, judged):
            against += [f'image "{image}": {text}' for text in bad]
            request.warnings += [f'image "{image}": {text}' for text in warnings]
        if against:
            raise Forbidden(
                f'pods "{request.name}" is forbidden: violates the image policy of namespace "{request.namespace}": '
                + "; ".join(against)
            )

    async def _judged(self, image: str, policy: Policy, secrets: Sequence[Secret]) -> tuple[list[str], list[str]]:
        try:
            reference = parse(image)
        except NotReadable as error:
            return [str(error)], []
        against = of_name(policy, reference)
        if against or not policy.asks:
            return against, []
        question, missing = self._question(image, policy, secrets)
        if missing:
            return [missing], []
        facts = await self._door.facts(question)
        if facts.signed_by and facts.signed_digest != reference.digest:
            # Known only after the name was to get its digest: by the tag the node might pull another image.
            return [f"its signature (by {facts.signed_by}) was not verified in time; it is now, so try again"], []
        vex = await self._vex()
        if facts.vex:
            vex = await asyncio.to_thread(_with_attached, vex, facts)
        left, _ = vex.split(facts.flaws, named(str(reference), facts.digests))
        bad, warnings = of_facts(policy, msgspec.structs.replace(facts, flaws=tuple(left)))
        silent = [name for name in policy.vex_signed_by if name not in question.voices]
        return bad, [*warnings, *(f"there is no key {name} in {_WHERE}: its VEX is not heard" for name in silent)]

    async def _pinned(self, image: str, policy: Policy, secrets: Sequence[Secret]) -> str:
        """The name with the digest that one of the keys has signed; as it is when none has, or its name is refused."""
        question, missing = self._question(image, policy, secrets)
        try:
            reference = parse(image)
        except NotReadable:
            return image
        if missing or of_name(policy, reference):
            return image
        facts = await self._door.facts(question)
        if not facts.signed_digest or facts.signed_digest == reference.digest:
            return image
        name = f"{image.partition('@')[0]}@{facts.signed_digest}"
        self._door.same(question, msgspec.structs.replace(question, image=name))
        return name

    def _question(self, image: str, policy: Policy, secrets: Sequence[Secret]) -> tuple[Question, str]:
        """What to ask of an image, and what is amiss with the keys that the policy names."""
        named_keys = policy.signed_by or policy.vex_signed_by
        there = self._objects.get(ConfigMap.resource, VEX_NAMESPACE, KEYS) if named_keys else None
        texts = (there or {}).get("data") or {}
        missing = [name for name in policy.signed_by if not texts.get(name)]
        keys = {name: str(texts[name]) for name in policy.signed_by if texts.get(name)}
        voices = {name: str(texts[name]) for name in policy.vex_signed_by if texts.get(name)}
        told = f"there is no key {', '.join(missing)} in {_WHERE}, whose signature is asked for"
        question = Question(image, keys, policy.scans, policy.sbom, voices, _login(image, secrets))
        return question, told if missing else ""

    def _secrets(self, request: AdmissionRequest) -> list[Secret]:
        """The pod's pull secrets, its service account's among them."""
        spec = (request.object or {}).get("spec") or {}
        names = [entry.get("name") for entry in spec.get("imagePullSecrets") or () if isinstance(entry, dict)]
        found = (self._objects.get(Secret.resource, request.namespace, str(name)) for name in names if name)
        return [from_tree(Secret, tree) for tree in found if tree is not None]

    async def _vex(self) -> Statements:
        """What the cluster's VEX documents say, read again when a ConfigMap is another one."""
        revision = self._objects.revision(ConfigMap.resource)
        if revision != self._read_at:
            trees = self._objects.list(ConfigMap.resource, VEX_NAMESPACE)
            maps = [from_tree(ConfigMap, tree) for tree in trees if LABEL in (tree["metadata"].get("labels") or {})]
            self._statements, _ = await asyncio.to_thread(documents, maps)
            self._read_at = revision
        return self._statements


def _with_attached(vex: Statements, facts: Facts) -> Statements:
    """Also what documents beside the image say; they were read before, so all of them can be."""
    return vex.with_more(said for entry in facts.vex for said in statements_of(entry))


def _policy(namespace: Obj, plural: str, name: str) -> Policy | None:
    annotations = (namespace.get("metadata") or {}).get("annotations") or {}
    try:
        return policy_of(annotations)
    except BadPolicy as error:
        raise Forbidden(f'{plural} "{name}" is forbidden: metadata.annotations: {error}') from error


def _login(image: str, secrets: Sequence[Secret]) -> tuple[str, str] | None:
    """User and password for the image's registry, as the node would choose them; tokens are not used here."""
    try:
        credentials = credentials_for(parse_name(image), secrets)
    except InvalidImageName:
        return None
    return next(((entry.username, entry.password) for entry in credentials if entry.username), None)


def _images(pod: Obj | None) -> Iterator[str]:
    return (str(container["image"]) for container in _containers(pod))


def _containers(pod: Obj | None) -> Iterator[Obj]:
    spec = (pod or {}).get("spec") or {}
    return (container for key in _LISTS for container in spec.get(key) or () if container.get("image"))
