"""The authorisers in the order of the configuration, which may change while they are asked.

The engine's own parts, and nodes, are judged by the node authoriser and RBAC alone: no file and no webhook that is
away can lock the cluster out of itself. Members of system:masters may do everything before anybody is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pilothouse.apiserver.admission.exempt import is_component
from pilothouse.apiserver.authorization.authorizer import FirstAllowing
from pilothouse.apiserver.chain import Attributes, Authorizer, Decision

if TYPE_CHECKING:
    from pilothouse.apiserver.authorization.webhook.authorizer import WebhookAuthorizer
    from pilothouse.apiserver.authorization.webhook.config import AuthorizationSettings


class ConfiguredOrder:
    """`builtin` are the authorisers "Node" and "RBAC"; without settings they are asked in that order."""

    def __init__(self, builtin: Mapping[str, Authorizer], settings: Callable[[], AuthorizationSettings | None]) -> None:
        self._builtin = builtin
        self._settings = settings
        self._own = self._ordered = FirstAllowing(list(builtin.values()))
        self._seen: AuthorizationSettings | None = None
        self._webhooks: list[WebhookAuthorizer] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def allow(self, attributes: Attributes) -> Decision:
        settings = self._settings()
        if settings is not self._seen:
            self._follow(settings)
        if settings is None or is_component(attributes.user):
            return await self._own.allow(attributes)
        return await self._ordered.allow(attributes)

    async def close(self) -> None:
        await asyncio.gather(*(webhook.close() for webhook in self._webhooks), *self._closing)

    def _follow(self, settings: AuthorizationSettings | None) -> None:
        """Takes on other settings. Webhooks forget what they were answered."""
        from pilothouse.apiserver.authorization.webhook.authorizer import WebhookAuthorizer

        self._seen = settings
        ordered: list[Authorizer] = []
        gone, self._webhooks = self._webhooks, []
        for entry in settings.authorizers if settings is not None else ():
            if isinstance(entry, str):
                ordered.append(self._builtin[entry])
            else:
                self._webhooks.append(WebhookAuthorizer(entry))
                ordered.append(self._webhooks[-1])
        self._ordered = FirstAllowing(ordered)
        for webhook in gone:
            task = asyncio.get_running_loop().create_task(webhook.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
