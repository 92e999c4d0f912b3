"""The policies in force, and the pods and namespaces they speak of.

Pods of other nodes and namespaces are watched from the moment the first policy appears.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.network import policy
from pilothouse.network.facts import Contribution
from pilothouse.network.pods import PodFacts
from pilothouse.network.views import PodView

log = logging.getLogger(__name__)

Start = Callable[[Coroutine[Any, Any, None]], object]


class Isolation:
    """The plan of all policies, with what is needed to carry it out. `pods` and `namespaces` are empty until needed."""

    def __init__(self, client: Client) -> None:
        self.plan = policy.Plan()
        self.pods: Informer[PodView] = Informer(client, PodView)
        self._namespaces: Informer[Namespace] = Informer(client, Namespace)
        self._watching = False

    def subscribe(self, on_pod: Callable[[str], None], on_namespace: Callable[[], None]) -> None:
        """`on_pod` is called with the key of each pod that changed, `on_namespace` when labels of one did."""

        def namespace_changed(key: str, old: Namespace | None, new: Namespace | None) -> None:
            if (old.metadata.labels if old else None) != (new.metadata.labels if new else None):
                on_namespace()

        self.pods.subscribe(lambda key, old, new: on_pod(key))
        self._namespaces.subscribe(namespace_changed)

    async def follow(self, policies: Iterable[NetworkPolicy], start: Start) -> None:
        """Makes the plan of these policies; starts watching pods when they are the first, and waits for the list.

        A policy that cannot be understood (the API refuses such) isolates its namespace and allows nothing.
        """
        understood = []
        for item in policies:
            try:
                understood.append(policy.understand(item))
            except ValueError as error:
                log.error("network policy %s allows nothing until it is mended: %s", item.key, error)
                understood.append(policy.closed(item))
        if understood and not self._watching:
            self._watching = True
            start(self.pods.run())
            start(self._namespaces.run())
            await self.pods.synced()
            await self._namespaces.synced()
        self.plan = policy.plan(understood)

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every namespace."""
        return {namespace.name: namespace.metadata.labels for namespace in self._namespaces}

    def shared_rules(self) -> Contribution:
        return policy.plan_rules(self.plan)

    def pod_rules(self, pod: PodFacts, namespaces: Mapping[str, Mapping[str, str]]) -> Contribution:
        return policy.pod_rules(self.plan, pod, namespaces)
