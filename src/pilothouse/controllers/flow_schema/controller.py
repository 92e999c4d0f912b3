"""Says of every FlowSchema whether the level it names is there (the condition Dangling, MISSINGPL in lists)."""

from __future__ import annotations

from pilothouse.controllers.conditions import conditions_tree, find, with_condition
from pilothouse.controllers.context import Context
from pilothouse.kinds.flowcontrol.flow_schema import FlowSchema
from pilothouse.kinds.flowcontrol.priority_level_configuration import PriorityLevelConfiguration
from pilothouse.kinds.view import Condition
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "flow-schema-controller"


async def run(context: Context) -> None:
    """Keeps the condition until cancelled."""
    schemas = context.informers.of(FlowSchema)
    levels = context.informers.of(PriorityLevelConfiguration)
    queue = KeyedQueue()

    async def reconcile(key: str) -> None:
        schema = schemas.get(key)
        if schema is None:
            return
        level = schema.spec.priority_level_configuration.name
        new = dangling(level, levels.get(level) is not None)
        old = find(schema.status.conditions, new.type)
        if old is not None and (old.status, old.message) == (new.status, new.message):
            return
        conditions = with_condition(schema.status.conditions, new, context.now())
        tree = {"metadata": {"uid": schema.metadata.uid}, "status": {"conditions": conditions_tree(conditions)}}
        try:
            await context.client.patch(FlowSchema, schema.name, None, tree, subresource="status")
        except NotFound:
            return

    def schema_changed(key: str, old: FlowSchema | None, new: FlowSchema | None) -> None:
        queue.add(key)

    def level_changed(key: str, old: PriorityLevelConfiguration | None, new: PriorityLevelConfiguration | None) -> None:
        if (old is None) != (new is None):
            for schema in schemas:
                queue.add(schema.name)

    await context.informers.synced(FlowSchema, PriorityLevelConfiguration)
    schemas.subscribe(schema_changed)
    levels.subscribe(level_changed)
    await work(NAME, queue, reconcile, workers=1)


def dangling(level: str, exists: bool) -> Condition:
    """The condition in upstream's words."""
    about = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if exists:
        return Condition(type="Dangling", status="False", reason="Found", message=f"{about} and it exists")
    return Condition(type="Dangling", status="True", reason="NotFound", message=f"{about} but there is no such object")
