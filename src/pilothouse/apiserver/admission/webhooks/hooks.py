"""Webhooks as they are configured, in order: configurations by name, webhooks as they stand in them."""

from __future__ import annotations

from functools import cached_property

from pilothouse.apiserver.chain import ObjectReader
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.policy.admission.judge import CompiledPolicy


class Hook:
    """One webhook. `index` is its place among all of its kind, as audit annotations name it."""

    def __init__(self, configuration: str, webhook: Obj, index: int) -> None:
        self.configuration = configuration
        self.webhook = webhook
        self.index = index
        self.name: str = webhook.get("name") or ""
        self.seconds: float = webhook.get("timeoutSeconds") or 10

    @property
    def fails_open(self) -> bool:
        return bool(self.webhook.get("failurePolicy") == "Ignore")

    @property
    def reinvocable(self) -> bool:
        return bool(self.webhook.get("reinvocationPolicy") == "IfNeeded")

    @property
    def key(self) -> tuple[str, str]:
        return self.configuration, self.name

    @cached_property
    def conditions(self) -> tuple[Obj, CompiledPolicy] | None:
        """The match conditions, as a policy that has nothing else."""
        given = self.webhook.get("matchConditions")
        if not given:
            return None
        policy = {"metadata": {"name": self.name}, "spec": {"matchConditions": given}}
        return policy, CompiledPolicy(policy)


class Hooks:
    """All webhooks of one kind of configuration."""

    def __init__(self, objects: ObjectReader, resource: Resource) -> None:
        self._objects = objects
        self._resource = resource
        self._seen = -1
        self._hooks: list[Hook] = []

    def current(self) -> list[Hook]:
        """Those configured now."""
        seen = self._objects.revision(self._resource)
        if seen != self._seen:
            configured = sorted(self._objects.list(self._resource), key=lambda found: str(found["metadata"]["name"]))
            pairs = [
                (found["metadata"]["name"], entry) for found in configured for entry in found.get("webhooks") or ()
            ]
            self._hooks = [Hook(name, entry, index) for index, (name, entry) in enumerate(pairs)]
            self._seen = seen
        return self._hooks
