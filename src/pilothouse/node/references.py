"""ConfigMaps and Secrets that pods of this node name: each is watched by its name while a pod needs it, and no longer.

A node may not list a namespace's Secrets, only those its pods name; a watch of one object costs nothing while it does
not change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.kinds.core.secret import Secret
from pilothouse.machinery.errors import ServiceUnavailable

T = TypeVar("T", ConfigMap, Secret)
_Key = tuple[str, str, str]
"""Plural, namespace, name."""

_SYNC_TIMEOUT = 10.0


class _Watched:
    def __init__(self, informer: Informer[ConfigMap] | Informer[Secret], task: asyncio.Task[None]) -> None:
        self.informer = informer
        self.task = task
        self.users: set[str] = set()


class References:
    """Objects by name for pods, by the pods' UIDs; `changed` is called with a UID when an object it uses changes."""

    def __init__(self, client: Client, changed: Callable[[str], None]) -> None:
        self._client = client
        self._changed = changed
        self._watched: dict[_Key, _Watched] = {}
        self._by_user: dict[str, set[_Key]] = {}

    async def config_map(self, uid: str, namespace: str, name: str) -> ConfigMap | None:
        """The ConfigMap, None when there is none. Raises ServiceUnavailable while it cannot be known."""
        return await self._get(ConfigMap, uid, namespace, name)

    async def secret(self, uid: str, namespace: str, name: str) -> Secret | None:
        """The Secret, as `config_map`."""
        return await self._get(Secret, uid, namespace, name)

    async def _get(self, cls: type[T], uid: str, namespace: str, name: str) -> T | None:
        key = (cls.resource.plural, namespace, name)
        watched = self._watched.get(key)
        if watched is None:
            informer: Informer[T] = Informer(
                self._client, cls, namespace=namespace, field_selector=f"metadata.name={name}"
            )
            watched = self._watched[key] = _Watched(informer, asyncio.create_task(informer.run()))
            informer.subscribe(lambda *_: self._notify(key))
        watched.users.add(uid)
        self._by_user.setdefault(uid, set()).add(key)
        try:
            async with asyncio.timeout(_SYNC_TIMEOUT):
                await watched.informer.synced()
        except TimeoutError:
            raise ServiceUnavailable(f"{cls.resource.kind} {namespace}/{name} cannot be read: no answer") from None
        found = watched.informer.get(f"{namespace}/{name}")
        assert found is None or isinstance(found, cls)
        return found

    def _notify(self, key: _Key) -> None:
        watched = self._watched.get(key)
        if watched is not None and watched.informer.has_synced:
            for uid in list(watched.users):
                self._changed(uid)

    def release(self, uid: str) -> None:
        """The pod is gone: what only it used is no longer watched."""
        for key in self._by_user.pop(uid, set()):
            watched = self._watched[key]
            watched.users.discard(uid)
            if not watched.users:
                watched.task.cancel()
                del self._watched[key]

    async def close(self) -> None:
        for watched in self._watched.values():
            watched.task.cancel()
        for watched in self._watched.values():
            with contextlib.suppress(asyncio.CancelledError):
                await watched.task
        self._watched.clear()


def config_map_names(container: Container) -> set[str]:
    """The ConfigMaps a container's environment names."""
    names = {source.config_map_ref.name for source in container.env_from if source.config_map_ref is not None}
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.config_map_key_ref is not None:
            names.add(variable.value_from.config_map_key_ref.name)
    return names


def secret_names(container: Container) -> set[str]:
    """The Secrets a container's environment names."""
    names = {source.secret_ref.name for source in container.env_from if source.secret_ref is not None}
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            names.add(variable.value_from.secret_key_ref.name)
    return names


def pull_secret_names(pod: Pod) -> list[str]:
    return [reference.name for reference in pod.spec.image_pull_secrets if reference.name]
