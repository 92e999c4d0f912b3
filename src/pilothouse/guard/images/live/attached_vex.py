"""VEX documents that are beside images in their registries, as the door fetched them.

They count for what runs in namespaces that name the key which vouches for them, and only while ConfigMap
`image-signing-keys` has that key. The door asks a registry when a pod is made; nothing is fetched here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pilothouse.guard.images.door.policy import BadPolicy, policy_of
from pilothouse.guard.images.match.vex import BadVex, Statement, Statements, Vouched, statements_of
from pilothouse.guard.images.scan.cache import LayerCache
from pilothouse.guard.images.signed.keys import BadKey, public_key
from pilothouse.kinds.core.namespace import Namespace

KEYS: Final = "image-signing-keys"
"""The ConfigMap of kube-system that holds public keys by name."""


class AttachedVex:
    """Documents by image, keys by namespace."""

    def __init__(self) -> None:
        self._said: dict[str, list[Vouched]] = {}
        self._since = 0
        self._ids: dict[str, str] = {}
        self._voices: dict[str, tuple[str, ...]] = {}

    async def take_in(self, cache: LayerCache, images: Collection[str]) -> list[str]:
        """Reads what the door has fetched since; the images about which something else is said."""
        self._since, changed = await asyncio.to_thread(cache.vex_since, self._since)
        found = [image for image in changed if image in images]
        for image in found:
            self._said[image] = await asyncio.to_thread(cache.vex, image)
        for image in [image for image in self._said if image not in images]:
            del self._said[image]
        return found

    async def know(self, cache: LayerCache, image: str) -> None:
        """Reads what is said of an image that is new here."""
        said = await asyncio.to_thread(cache.vex, image)
        if said:
            self._said[image] = said

    def keys_changed(self, texts: Mapping[str, str]) -> bool:
        """Takes the trusted keys in; True when they are others."""
        ids = {}
        for name, text in texts.items():
            try:
                ids[name] = public_key(text.encode(), name).id
            except BadKey:
                continue  # the door says so to whoever asks for it
        if ids == self._ids:
            return False
        self._ids = ids
        return True

    def namespace_changed(self, name: str, namespace: Namespace | None) -> bool:
        """Takes in whom a namespace hears; True when it is somebody else."""
        before = self._voices.pop(name, ())
        try:
            policy = policy_of(namespace.metadata.annotations) if namespace is not None else None
        except BadPolicy:
            policy = None
        now = policy.vex_signed_by if policy is not None else ()
        if now:
            self._voices[name] = now
        return now != before

    def heard(self, namespace: str, images: Iterable[str], others: Statements) -> Statements:
        """`others`, and what is said beside these images and heard in a namespace."""
        trusted = {self._ids[name] for name in self._voices.get(namespace, ()) if name in self._ids}
        if not trusted:
            return others
        found: list[Statement] = []
        for image in images:
            for vouched in self._said.get(image, ()):
                if vouched.key in trusted:
                    found += _statements(vouched)
        return others.with_more(found) if found else others


def _statements(vouched: Vouched) -> list[Statement]:
    try:
        return statements_of(vouched)
    except BadVex:  # the door has read it; another version of this program reads otherwise
        return []
