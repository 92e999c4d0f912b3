"""Objects of kinds that are not ours, watched while somebody has defined them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pilothouse.client.informer import Informer
from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.view import Object

T = TypeVar("T", bound=Object)


class DefinedKinds:
    """The informers of those of `kinds` that are served now. `wake` is called when one comes, goes, or has changes."""

    def __init__(self, informers: SharedInformers, kinds: Sequence[type[Object]], wake: Callable[[], None]) -> None:
        self._informers = informers
        self._kinds = kinds
        self._wake = wake
        self._held: dict[type[Object], Informer[Any]] = {}

    async def watch(self) -> None:
        """Follows the definitions, and the objects while they are served."""
        definitions = self._informers.of(CustomResourceDefinition)
        await definitions.synced()
        definitions.subscribe(self._defined)

    def have(self, *kinds: type[Object]) -> bool:
        """Whether all of them are served, and their objects known."""
        return all(cls in self._held and self._held[cls].has_synced for cls in kinds)

    def serves(self, cls: type[Object]) -> bool:
        """Whether the kind is served."""
        return cls in self._held

    def all(self, cls: type[T]) -> list[T]:
        """The objects of a kind, none while it is not served."""
        return list(self._held[cls]) if cls in self._held else []

    def get(self, cls: type[T], key: str) -> T | None:
        """One object, None also while its kind is not served."""
        return self._held[cls].get(key) if cls in self._held else None

    def _defined(self, key: str, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None) -> None:
        for cls in self._kinds:
            if key != f"{cls.resource.plural}.{cls.resource.group}":
                continue
            served = new is not None and new.has("Established") and _serves(new, cls.resource.version)
            if served and cls not in self._held:
                informer = self._held[cls] = self._informers.of(cls)
                informer.subscribe(lambda key, old, new: self._wake())
            elif not served and cls in self._held:
                del self._held[cls]
                self._informers.drop(cls)
            self._wake()


def _serves(definition: CustomResourceDefinition, version: str) -> bool:
    return any(found.name == version and found.served for found in definition.spec.versions)
