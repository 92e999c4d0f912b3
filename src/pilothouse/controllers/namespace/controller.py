"""Empties namespaces that are being deleted, and lets them go when nothing is left."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.client.informer import Subscriber
from pilothouse.controllers.conditions import conditions_tree
from pilothouse.controllers.context import Context
from pilothouse.controllers.metadata import NOT_COLLECTED, MetadataInformers, metadata_view
from pilothouse.controllers.namespace.decide import FINALIZER, Content, blocked, conditions
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import Object, to_tree
from pilothouse.machinery.errors import ApiError, Conflict, NotFound
from pilothouse.machinery.objects import Resource
from pilothouse.reconcile.custom_resources import follow
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "namespace-controller"
_COALESCE_SECONDS = 0.05
"""Objects that go together are counted together."""
_NAMED = 5
"""Objects held by finalizers that are named in the condition."""
_RETRY_SECONDS = 5.0
"""A look without any event, for kinds that are not watched and for errors."""


async def run(context: Context, resources: Sequence[Resource]) -> None:
    """Finishes namespaces until cancelled; `resources` are the built-in kinds in namespaces that can be deleted."""
    controller = Controller(context, resources)
    watched = [resource for resource in resources if (resource.group, resource.plural) not in NOT_COLLECTED]
    informers = MetadataInformers(context.informers, watched)
    await context.informers.synced(Namespace, CustomResourceDefinition)
    context.informers.of(Namespace).subscribe(controller.changed)
    for _, informer in informers.items():
        informer.subscribe(controller.content_subscriber())

    def comes(resource: Resource) -> None:
        if resource.namespaced:
            controller.know(resource)
            context.informers.of(metadata_view(resource)).subscribe(controller.content_subscriber())

    def goes(resource: Resource) -> None:
        context.informers.drop(metadata_view(resource))
        controller.forget(resource)

    follow(context.informers, comes, goes)
    await work(NAME, controller.queue, controller.reconcile, workers=2)


class Controller:
    def __init__(self, context: Context, resources: Sequence[Resource]) -> None:
        self._context = context
        self._client = context.client
        self._namespaces = context.informers.of(Namespace)
        self._resources = sorted(resource for resource in resources if resource != Pod.resource)
        self._custom: set[Resource] = set()
        self._seen: dict[str, str] = {}
        """What was last told to block a namespace."""
        self.queue = KeyedQueue()

    def know(self, resource: Resource) -> None:
        self._custom.add(resource)

    def forget(self, resource: Resource) -> None:
        self._custom.discard(resource)

    def changed(self, key: str, old: Namespace | None, new: Namespace | None) -> None:
        if new is None:
            self._seen.pop(key, None)
        elif new.metadata.deletion_timestamp is not None:
            self.queue.add(key)

    def content_subscriber(self) -> Subscriber[Object]:
        """Looks again when the last of something in a terminating namespace may have gone."""

        def gone(key: str, old: Object | None, new: Object | None) -> None:
            if old is not None and new is None:
                namespace = self._namespaces.get(old.metadata.namespace)
                if namespace is not None and namespace.metadata.deletion_timestamp is not None:
                    self.queue.add_after(namespace.name, _COALESCE_SECONDS)

        return gone

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return None
        if FINALIZER not in namespace.spec.finalizers:
            return None
        content = await self._empty(key)
        wanted = conditions(namespace, content, self._context.now())
        if wanted != namespace.status.conditions:
            patch = {"metadata": {"uid": namespace.metadata.uid}, "status": {"conditions": conditions_tree(wanted)}}
            await self._client.patch(Namespace, key, None, patch, subresource="status")
        self._tell(namespace, blocked(content), again=wanted == namespace.status.conditions)
        if not content.empty:
            return _RETRY_SECONDS
        await self._finalize(namespace)
        return None

    def _tell(self, namespace: Namespace, message: str, again: bool) -> None:
        """An event, once two looks found the same: what finalizers do at once (a Job's, a claim's) is not worth one."""
        if not message:
            self._seen.pop(namespace.name, None)
        elif again and self._seen.get(namespace.name) != message:
            self._seen[namespace.name] = message
            self._context.events.event(namespace, "Warning", "NamespaceDeletionBlocked", message)

    async def _empty(self, namespace: str) -> Content:
        """Deletes everything in the namespace that is not being deleted already, and counts what is left.

        Nothing else goes before the last pod has: it may use claims, Secrets and network policies while it stops.
        Source: KEP-5080, ordered namespace deletion.
        """
        content = Content()
        await self._empty_of(Pod.resource, namespace, content)
        if content.empty:
            for resource in [*sorted(self._custom), *self._resources]:
                await self._empty_of(resource, namespace, content)
        return content

    async def _empty_of(self, resource: Resource, namespace: str, content: Content) -> None:
        view = metadata_view(resource)
        try:
            left = (await self._client.list(view, namespace)).items
            if fresh := [obj for obj in left if obj.metadata.deletion_timestamp is None]:
                for obj in fresh:
                    await self._delete(view, obj)
                left = (await self._client.list(view, namespace)).items
        except NotFound:
            return  # the kind has just gone
        except ApiError as error:
            content.errors.append(f"{resource.plural}: {error.message}")
            return
        if left:
            content.remaining[resource] = len(left)
            content.finalizers.update(name for obj in left for name in obj.metadata.finalizers)
            held = [f"{resource.plural}/{obj.name}" for obj in left if obj.metadata.finalizers]
            content.held.extend(held[: _NAMED - len(content.held)])

    async def _delete(self, view: type[Object], obj: Object) -> None:
        try:
            await self._client.delete(
                view, obj.name, obj.namespace, uid=obj.metadata.uid, propagation_policy="Background"
            )
        except (NotFound, Conflict):
            return

    async def _finalize(self, namespace: Namespace) -> None:
        tree = to_tree(namespace)
        left = [name for name in namespace.spec.finalizers if name != FINALIZER]
        tree["spec"] = {"finalizers": left} if left else {}
        path = Namespace.resource.path(None, namespace.name, "finalize")
        try:
            await self._client.request("PUT", path, body=tree)
        except NotFound:
            return
