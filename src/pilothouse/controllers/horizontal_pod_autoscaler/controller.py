"""Carries out what `decide` says about HorizontalPodAutoscalers."""

from __future__ import annotations

from pilothouse.client.shared import NAMESPACE
from pilothouse.controllers.context import Context
from pilothouse.controllers.horizontal_pod_autoscaler.ask import Metrics
from pilothouse.controllers.horizontal_pod_autoscaler.decide import Outcome, Plan, Snapshot, decide, outcome
from pilothouse.controllers.horizontal_pod_autoscaler.rates import History
from pilothouse.controllers.scaling import CannotScale, Scale, ScaleTargets
from pilothouse.kinds.autoscaling.horizontal_pod_autoscaler import HorizontalPodAutoscaler
from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import ApiError, BadRequest, NotFound
from pilothouse.machinery.selector_text import parse_label_selector
from pilothouse.machinery.selectors import Selector
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "horizontal-pod-autoscaler"
PERIOD_SECONDS = 15.0
"""How often each autoscaler looks at its metrics."""


async def run(context: Context, *, period: float = PERIOD_SECONDS) -> None:
    """Scales what autoscalers point to until cancelled, each every `period` seconds."""
    controller = Controller(context, period)
    await context.informers.synced(HorizontalPodAutoscaler, Pod)
    context.informers.of(HorizontalPodAutoscaler).subscribe(controller.changed)
    await work(NAME, controller.queue, controller.reconcile, workers=2)


class Controller:
    def __init__(self, context: Context, period: float) -> None:
        self._context = context
        self._period = period
        self._autoscalers = context.informers.of(HorizontalPodAutoscaler)
        self._pods = context.informers.of(Pod)
        self._targets = ScaleTargets(context.client)
        self._metrics = Metrics(context.client, self._targets)
        self._histories: dict[str, History] = {}
        self._selectors: dict[str, Selector] = {}
        """The selector of each autoscaler's target as last seen."""
        self.queue = KeyedQueue()

    def changed(self, key: str, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        if new is None or (old is not None and old.metadata.uid != new.metadata.uid):
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
        # The status is written here; looking at it again would be a loop.
        if new is not None and (old is None or old.spec != new.spec):
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        autoscaler = self._autoscalers.get(key)
        if autoscaler is None or autoscaler.metadata.deletion_timestamp is not None:
            return None
        scale = await self._scale(autoscaler)
        plan = decide(await self._snapshot(key, autoscaler, scale))
        error = await self._rescale(autoscaler, scale, plan) if isinstance(scale, Scale) else ""
        result = outcome(plan, error)
        if self._autoscalers.get(key) is not None:
            self._histories[key] = result.history
        await self._tell(autoscaler, result)
        return self._period

    async def _scale(self, autoscaler: HorizontalPodAutoscaler) -> Scale | str:
        ref = autoscaler.spec.scale_target_ref
        try:
            return await self._targets.get(ref.api_version, ref.kind, autoscaler.namespace, ref.name)
        except (CannotScale, ApiError) as error:
            return str(error)

    async def _snapshot(self, key: str, autoscaler: HorizontalPodAutoscaler, scale: Scale | str) -> Snapshot:
        now, history = self._context.now(), self._histories.get(key, History())
        selector = _selector(scale)
        if selector is None or isinstance(scale, str):
            self._selectors.pop(key, None)
            return Snapshot(autoscaler, scale, now, history)
        self._selectors[key] = selector
        mates = self._pods.by_index(NAMESPACE, autoscaler.namespace)
        pods = [pod for pod in mates if selector.matches(pod.metadata.labels)]
        metrics = await self._metrics.answers(autoscaler, selector)
        return Snapshot(autoscaler, scale, now, history, pods, self._rivals(key, autoscaler, pods), metrics)

    def _rivals(self, key: str, autoscaler: HorizontalPodAutoscaler, pods: list[Pod]) -> list[str]:
        """All autoscalers with the same target, or whose target has one of these pods."""
        ref, found = autoscaler.spec.scale_target_ref, []
        for other in self._autoscalers.by_index(NAMESPACE, autoscaler.namespace):
            theirs = self._selectors.get(other.key)
            same = other.spec.scale_target_ref == ref
            if other.key == key or same or (theirs and any(theirs.matches(pod.metadata.labels) for pod in pods)):
                found.append(other.key)
        return sorted(found)

    async def _rescale(self, autoscaler: HorizontalPodAutoscaler, scale: Scale, plan: Plan) -> str:
        """Why the target could not be scaled; "" when it was, or nothing was to be done."""
        if plan.rescale is None:
            return ""
        ref = autoscaler.spec.scale_target_ref
        try:
            await self._targets.set(ref.api_version, ref.kind, autoscaler.namespace, ref.name, scale, plan.rescale)
        except (CannotScale, ApiError) as error:
            return str(error)
        return ""

    async def _tell(self, autoscaler: HorizontalPodAutoscaler, result: Outcome) -> None:
        for note in result.notes:
            self._context.events.event(autoscaler, note.type, note.reason, note.message)
        if not result.status:
            return
        patch = {"metadata": {"uid": autoscaler.metadata.uid}, "status": result.status}
        try:
            await self._context.client.patch(
                HorizontalPodAutoscaler, autoscaler.name, autoscaler.namespace, patch, subresource="status"
            )
        except NotFound:
            return


def _selector(scale: Scale | str) -> Selector | None:
    """The selector of a target's pods; None when there is none to go by."""
    if isinstance(scale, str) or not scale.selector:
        return None
    try:
        return parse_label_selector(scale.selector)
    except (BadRequest, ValueError):
        return None
