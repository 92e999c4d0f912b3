"""What becomes of one object, by its owners and dependents. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from pilothouse.controllers.garbage_collector.graph import FOREGROUND, ORPHAN, Node
from pilothouse.kinds.view import OwnerReference


class Owner(Enum):
    """How an owner reference stands."""

    SOLID = "solid"
    GONE = "gone"
    WAITING = "waiting"
    """Being deleted in the foreground: it waits for this object to go."""


@dataclass(frozen=True, slots=True)
class Delete:
    node: Node
    policy: str


@dataclass(frozen=True, slots=True)
class DropOwners:
    """Removes the references to these uids."""

    node: Node
    uids: frozenset[str]


@dataclass(frozen=True, slots=True)
class DropFinalizer:
    node: Node
    finalizer: str


@dataclass(frozen=True, slots=True)
class Unblock:
    """Lets the object's owners go without waiting for it."""

    node: Node


Action = Delete | DropOwners | DropFinalizer | Unblock


def decide(node: Node, dependents: Sequence[Node], standing: Callable[[OwnerReference], Owner]) -> list[Action]:
    """The actions for `node`. `standing` says how each of its owners stands, verified against the live API."""
    if node.orphaning:
        released: list[Action] = [DropOwners(dependent, frozenset({node.uid})) for dependent in dependents]
        return [*released, DropFinalizer(node, ORPHAN)]
    if node.deleting_dependents:
        return _foreground(node, dependents)
    if node.deleting or not node.owners:
        return []
    return _owned(node, dependents, standing)


def _foreground(node: Node, dependents: Sequence[Node]) -> list[Action]:
    """Lets the owner go once nothing that blocks it is left; dependents see to themselves, their owner waits."""
    blocking = [
        d
        for d in dependents
        if d.uid != node.uid and any(o.uid == node.uid and o.block_owner_deletion for o in d.owners)
    ]
    return [] if blocking else [DropFinalizer(node, FOREGROUND)]


def _owned(node: Node, dependents: Sequence[Node], standing: Callable[[OwnerReference], Owner]) -> list[Action]:
    by_standing: dict[Owner, list[OwnerReference]] = {kind: [] for kind in Owner}
    for owner in node.owners:
        by_standing[standing(owner)].append(owner)
    done_with = by_standing[Owner.GONE] + by_standing[Owner.WAITING]
    if by_standing[Owner.SOLID]:
        return [DropOwners(node, frozenset(owner.uid for owner in done_with))] if done_with else []
    if by_standing[Owner.WAITING] and dependents:
        # The owner waits for the whole tree below, so this object must wait for its own dependents. If one of those
        # waits itself, they may own one another: then somebody must stop waiting.
        circle = any(dependent.deleting_dependents for dependent in dependents)
        if circle and any(owner.block_owner_deletion for owner in by_standing[Owner.WAITING]):
            return [Unblock(node)]
        return [Delete(node, "Foreground")]
    if ORPHAN in node.finalizers:
        return [Delete(node, "Orphan")]
    return [Delete(node, "Foreground" if FOREGROUND in node.finalizers else "Background")]
