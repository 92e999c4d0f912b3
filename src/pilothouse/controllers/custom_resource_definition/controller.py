"""Has the server look again at names when some were freed, and removes the instances of a definition that goes."""

from __future__ import annotations

from pilothouse.controllers.conditions import conditions_tree
from pilothouse.controllers.context import Context
from pilothouse.controllers.custom_resource_definition.decide import (
    COMPLETED,
    IN_PROGRESS,
    failed,
    is_going,
    terminating,
    waits_for_names,
)
from pilothouse.controllers.metadata import metadata_view
from pilothouse.kinds.apiextensions.definition import CLEANUP, CustomResourceDefinition
from pilothouse.kinds.view import Object
from pilothouse.machinery.errors import ApiError, Conflict, NotFound
from pilothouse.machinery.objects import Resource
from pilothouse.reconcile.custom_resources import resource_of
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "custom-resource-definition-controller"
_LOOK_AGAIN_SECONDS = 0.5
"""Between looks at instances that finalizers hold."""


async def run(context: Context) -> None:
    """Serves definitions until cancelled."""
    controller = Controller(context)
    await context.informers.synced(CustomResourceDefinition)
    context.informers.of(CustomResourceDefinition).subscribe(controller.changed)
    await work(NAME, controller.queue, controller.reconcile, workers=2)


class Controller:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._definitions = context.informers.of(CustomResourceDefinition)
        self.queue = KeyedQueue()

    def changed(self, key: str, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None) -> None:
        if new is not None and is_going(new):
            self.queue.add(key)
        names = None if new is None else new.status.accepted_names
        if old is not None and old.status.accepted_names != names:
            for other in self._definitions:
                if other.spec.group == old.spec.group and waits_for_names(other):
                    self.queue.add(other.key)

    async def reconcile(self, key: str) -> float | None:
        definition = self._definitions.get(key)
        if definition is None:
            return None
        if waits_for_names(definition):
            # Names are given out by the server at every write of a definition, under one lock.
            await self._patch(definition, {})
            return None
        return await self._remove_instances(definition) if is_going(definition) else None

    async def _remove_instances(self, definition: CustomResourceDefinition) -> float | None:
        resource = resource_of(definition)
        try:
            left = await self._delete_all(resource) if resource is not None else 0
        except NotFound:
            left = 0
        except ApiError as error:
            await self._say(definition, failed(error.message))
            raise
        if left:
            await self._say(definition, IN_PROGRESS)
            return _LOOK_AGAIN_SECONDS
        await self._say(definition, COMPLETED)
        remaining = [name for name in definition.metadata.finalizers if name != CLEANUP]
        await self._patch(definition, {"finalizers": remaining or None})
        return None

    async def _delete_all(self, resource: Resource) -> int:
        """Asks for the deletion of every instance, and counts those that are still there."""
        view = metadata_view(resource)
        found = (await self._client.list(view)).items
        fresh = [obj for obj in found if obj.metadata.deletion_timestamp is None]
        for obj in fresh:
            await self._delete(view, obj)
        return len((await self._client.list(view)).items) if fresh else len(found)

    async def _delete(self, view: type[Object], obj: Object) -> None:
        try:
            await self._client.delete(view, obj.name, obj.namespace or None, uid=obj.metadata.uid)
        except (NotFound, Conflict):
            return

    async def _say(self, definition: CustomResourceDefinition, state: tuple[str, str, str]) -> None:
        conditions = terminating(definition, state, self._context.now())
        if conditions is None:
            return
        patch = {"metadata": {"uid": definition.metadata.uid}, "status": {"conditions": conditions_tree(conditions)}}
        try:
            await self._client.patch(CustomResourceDefinition, definition.name, None, patch, subresource="status")
        except NotFound:
            return

    async def _patch(self, definition: CustomResourceDefinition, change: dict[str, object]) -> None:
        metadata = {"uid": definition.metadata.uid, **change}
        try:
            await self._client.patch(CustomResourceDefinition, definition.name, None, {"metadata": metadata})
        except NotFound:
            return
