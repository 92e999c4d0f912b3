"""Writes into each ClusterRole with an aggregation rule the rules of those its selectors match.

Authorisation gathers them by itself at every change; what is written here is for whoever reads the role.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.controllers.context import Context
from pilothouse.kinds.rbac.role import ClusterRole, PolicyRule
from pilothouse.kinds.view import to_tree
from pilothouse.machinery.errors import NotFound
from pilothouse.reconcile.labels import matches
from pilothouse.reconcile.queue import KeyedQueue, work

NAME = "clusterrole-aggregation-controller"
_TOGETHER_SECONDS = 0.1
"""Roles that are written together, as at a first start, are gathered together."""


async def run(context: Context) -> None:
    """Gathers rules until cancelled."""
    controller = Controller(context)
    await context.informers.synced(ClusterRole)
    context.informers.of(ClusterRole).subscribe(controller.changed)
    await work(NAME, controller.queue, controller.reconcile)


def gathered(role: ClusterRole, roles: Iterable[ClusterRole]) -> list[PolicyRule]:
    """The rules of all roles that `role` selects, each once, in order of the roles' names."""
    selectors = role.aggregation_rule.cluster_role_selectors if role.aggregation_rule is not None else []
    every = sorted(roles, key=lambda other: other.name)
    found: list[PolicyRule] = []
    for selector in selectors:
        for other in every:
            if other.name != role.name and matches(selector, other.metadata.labels):
                found += [rule for rule in other.rules if rule not in found]
    return found


class Controller:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.informers.of(ClusterRole)
        self.queue = KeyedQueue()

    def changed(self, key: str, old: ClusterRole | None, new: ClusterRole | None) -> None:
        """Any role may be one that others gather, or was before it lost its labels."""
        for role in self._roles:
            if role.aggregation_rule is not None:
                self.queue.add_after(role.name, _TOGETHER_SECONDS)

    async def reconcile(self, key: str) -> float | None:
        role = self._roles.get(key)
        if role is None or role.aggregation_rule is None:
            return None
        rules = gathered(role, self._roles)
        if rules == role.rules:
            return None
        meta = role.metadata
        patch = {
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "rules": [to_tree(rule) for rule in rules],
        }
        try:
            await self._client.patch(ClusterRole, key, None, patch)
        except NotFound:
            return None
        return None
