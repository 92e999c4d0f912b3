"""Keeps the ownership graph from informers of every kind, and carries out what `decide` says."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pilothouse.client.informer import Subscriber
from pilothouse.controllers.context import Context
from pilothouse.controllers.garbage_collector.decide import (
    Action,
    Delete,
    DropFinalizer,
    DropOwners,
    Owner,
    Unblock,
    decide,
)
from pilothouse.controllers.garbage_collector.graph import Graph, Node
from pilothouse.controllers.metadata import NOT_COLLECTED, MetadataInformers, metadata_view
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.view import Object, OwnerReference, to_tree
from pilothouse.machinery.errors import Conflict, NotFound
from pilothouse.machinery.objects import Resource
from pilothouse.reconcile.custom_resources import follow
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "generic-garbage-collector"
WORKERS = 4
log = logging.getLogger(__name__)


async def run(context: Context, resources: Sequence[Resource]) -> None:
    """Collects over `resources` and custom resources until cancelled."""
    watched = [resource for resource in resources if (resource.group, resource.plural) not in NOT_COLLECTED]
    informers = MetadataInformers(context.informers, watched)
    await informers.synced()
    await context.informers.synced(CustomResourceDefinition)
    collector = Collector(context, {(r.group, r.kind): r for r in resources})
    for resource, informer in informers.items():
        informer.subscribe(collector.subscriber(resource))

    def comes(resource: Resource) -> None:
        collector.know(resource)
        context.informers.of(metadata_view(resource)).subscribe(collector.subscriber(resource))

    def goes(resource: Resource) -> None:
        context.informers.drop(metadata_view(resource))
        collector.forget(resource)

    follow(context.informers, comes, goes)
    collector.start()
    await work(NAME, collector.queue, collector.reconcile, workers=WORKERS)


class Collector:
    def __init__(self, context: Context, by_kind: dict[tuple[str, str], Resource]) -> None:
        self._client = context.client
        self._by_kind = by_kind
        self._graph = Graph()
        self._started = False
        self.queue = KeyedQueue()

    def start(self) -> None:
        """Called once every informer's first objects are in: owners absent or going now are worth a look."""
        self._started = True
        for node in self._graph.nodes():
            if any(self._absent(owner) for owner in node.owners):
                self.queue.add(node.uid)

    def know(self, resource: Resource) -> None:
        self._by_kind[(resource.group, resource.kind)] = resource

    def forget(self, resource: Resource) -> None:
        """A kind is served no more: its objects own nothing."""
        if self._by_kind.get((resource.group, resource.kind)) == resource:
            del self._by_kind[(resource.group, resource.kind)]
        for node in [node for node in self._graph.nodes() if node.resource == resource]:
            self._gone(node.uid)

    def subscriber(self, resource: Resource) -> Subscriber[Object]:
        def changed(key: str, old: Object | None, new: Object | None) -> None:
            if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
                self._gone(old.metadata.uid)
            if new is not None:
                self._present(Node.of(resource, new))

        return changed

    def _gone(self, uid: str) -> None:
        node = self._graph.remove(uid)
        for dependent in self._graph.dependents(uid):
            self.queue.add(dependent.uid)
        self._wake_owners(node)

    def _present(self, node: Node) -> None:
        old = self._graph.put(node)
        if node.deleting_dependents or node.orphaning:
            self.queue.add(node.uid)
            for dependent in self._graph.dependents(node.uid) if node.deleting_dependents else ():
                self.queue.add(dependent.uid)
        if old is not None and old.owners != node.owners:
            self._wake_owners(old)
        changed = old is None or old.owners != node.owners
        if self._started and changed and any(self._absent(owner) for owner in node.owners):
            self.queue.add(node.uid)

    def _absent(self, owner: OwnerReference) -> bool:
        found = self._graph.get(owner.uid)
        return found is None or found.deleting_dependents

    def _wake_owners(self, node: Node | None) -> None:
        """An owner in foreground deletion may be waiting for this object."""
        for owner in node.owners if node is not None else ():
            waiting = self._graph.get(owner.uid)
            if waiting is not None and waiting.deleting_dependents:
                self.queue.add(owner.uid)

    async def reconcile(self, uid: str) -> float | None:
        node = self._graph.get(uid)
        if node is None:
            return None
        standing = {owner.uid: await self._standing(node, owner) for owner in node.owners} if _judged(node) else {}
        for action in decide(node, self._graph.dependents(uid), lambda owner: standing[owner.uid]):
            await self._act(action)
        return None

    async def _standing(self, node: Node, owner: OwnerReference) -> Owner:
        """Absence in the graph may be lag, so it is checked against the API before anything is deleted for it."""
        known = self._graph.get(owner.uid)
        if known is not None and known.namespace in ("", node.namespace):
            return Owner.WAITING if known.deleting_dependents else Owner.SOLID
        group = owner.api_version.partition("/")[0] if "/" in owner.api_version else ""
        resource = self._by_kind.get((group, owner.kind))
        if resource is None:
            log.debug("%s %s: owner %s of an unknown kind is left alone", node.resource.kind, node.name, owner.kind)
            return Owner.SOLID
        if resource.namespaced and not node.namespace:
            return Owner.SOLID
        live = await self._client.find(metadata_view(resource), owner.name, node.namespace or None)
        return Owner.SOLID if live is not None and live.metadata.uid == owner.uid else Owner.GONE

    async def _act(self, action: Action) -> None:
        node = action.node
        view = metadata_view(node.resource)
        try:
            match action:
                case Delete(policy=policy):
                    await self._client.delete(
                        view,
                        node.name,
                        node.namespace or None,
                        uid=node.uid,
                        resource_version=node.resource_version,
                        propagation_policy=policy,
                    )
                case DropOwners(uids=uids):
                    keep = [to_tree(owner) for owner in node.owners if owner.uid not in uids]
                    await self._patch(view, node, {"ownerReferences": keep or None})
                case Unblock():
                    free = [{**to_tree(owner), "blockOwnerDeletion": False} for owner in node.owners]
                    await self._patch(view, node, {"ownerReferences": free})
                case DropFinalizer(finalizer=finalizer):
                    left = [name for name in node.finalizers if name != finalizer]
                    await self._patch(view, node, {"finalizers": left or None})
        except NotFound:
            return
        except Conflict:
            # Changed, or another object by now: the graph will say what it is.
            self.queue.add_after(node.uid, 0.1)

    async def _patch(self, view: type[Object], node: Node, change: dict[str, object]) -> None:
        metadata = {"uid": node.uid, "resourceVersion": node.resource_version, **change}
        await self._client.patch(view, node.name, node.namespace or None, {"metadata": metadata})


def _judged(node: Node) -> bool:
    return bool(node.owners) and not node.deleting
