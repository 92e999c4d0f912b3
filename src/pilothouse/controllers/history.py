"""Carries out what `revisions` says, for every controller that keeps ControllerRevisions."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.client.client import Client
from pilothouse.controllers.names import prune
from pilothouse.controllers.revisions import Create, Renumber, template_of
from pilothouse.kinds.apps.controller_revision import ControllerRevision
from pilothouse.kinds.view import Object, from_tree
from pilothouse.machinery.errors import AlreadyExists, NotFound


async def write(client: Client, owner: Object, action: Create | Renumber) -> bool:
    """Writes the newest revision. False when its name is taken by something else: then the hash needs a new salt."""
    if isinstance(action, Renumber):
        meta = action.target.metadata
        change = {"metadata": {"uid": meta.uid}, "revision": action.revision}
        await client.patch(ControllerRevision, meta.name, meta.namespace, change)
        return True
    try:
        await client.create_tree(ControllerRevision.resource, action.tree, owner.namespace)
    except AlreadyExists:
        existing = await client.find(ControllerRevision, action.name, owner.namespace)
        wanted: ControllerRevision = from_tree(ControllerRevision, {"data": action.tree["data"]})
        holder = existing.controller() if existing is not None else None
        ours = holder is not None and holder.uid == owner.metadata.uid
        return existing is None or (ours and prune(template_of(existing)) == prune(template_of(wanted)))
    return True


async def remove(client: Client, revisions: Iterable[ControllerRevision]) -> None:
    """Deletes revisions that the history no longer needs."""
    for revision in revisions:
        try:
            await client.delete(ControllerRevision, revision.name, revision.namespace, uid=revision.metadata.uid)
        except NotFound:
            continue
