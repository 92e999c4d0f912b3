"""Which objects a controlling owner claims: those it owns, those to adopt, those to let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pilothouse.client.client import Client
from pilothouse.kinds.view import LabelSelector, Object, OwnerReference, to_tree
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.labels import matches

T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """`owned` includes what is about to be adopted."""

    owned: list[T]
    adopt: list[T]
    release: list[T]


def claim(
    owner: Object,
    selector: LabelSelector | None,
    candidates: Iterable[T],
    adoptable: Callable[[T], bool] = lambda _: True,
) -> Claim[T]:
    """Sorts `candidates` by owner and selector. An owner being deleted neither adopts nor lets go."""
    result: Claim[T] = Claim([], [], [])
    deleting = owner.metadata.deletion_timestamp is not None
    for candidate in candidates:
        controller = candidate.controller()
        fits = matches(selector, candidate.metadata.labels)
        if controller is None:
            if fits and not deleting and candidate.metadata.deletion_timestamp is None and adoptable(candidate):
                result.adopt.append(candidate)
                result.owned.append(candidate)
        elif controller.uid == owner.metadata.uid:
            if fits:
                result.owned.append(candidate)
            elif not deleting and candidate.metadata.deletion_timestamp is None:
                result.release.append(candidate)
    return result


async def settle(client: Client, owner: Object, claimed: Claim[T]) -> None:
    """Writes the owner references that `claimed` asks for, each only if its object has not changed meanwhile."""
    for obj in claimed.adopt:
        await _write(client, obj, [*obj.metadata.owner_references, owner.as_owner()])
    for obj in claimed.release:
        await _write(client, obj, [ref for ref in obj.metadata.owner_references if ref.uid != owner.metadata.uid])


async def _write(client: Client, obj: Object, references: Iterable[OwnerReference]) -> None:
    meta = obj.metadata
    trees = [to_tree(ref) for ref in references]
    change = {"uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": trees or None}
    try:
        await client.patch(type(obj), meta.name, meta.namespace, {"metadata": change})
    except NotFound:
        return
