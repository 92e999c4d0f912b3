"""Posts an AdmissionReview over HTTPS."""

from __future__ import annotations

import math

from pilothouse.apiserver.admission.webhooks.hooks import Hook
from pilothouse.apiserver.chain import ObjectReader
from pilothouse.apiserver.service_link import ServiceLink
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.machinery.objects import Obj


class CallFailed(Exception):
    """The webhook gave no answer."""


class WebhookClient:
    """Calls webhooks."""

    def __init__(self, objects: ObjectReader) -> None:
        self._link = ServiceLink(objects)

    async def post(self, hook: Hook, body: bytes) -> bytes:
        """The answer's body. Raises CallFailed, worded as client-go words it."""
        client = hook.webhook.get("clientConfig") or {}
        query = f"?timeout={math.ceil(hook.seconds)}s"
        try:
            target = self._link.target(client)
        except ServiceUnavailable as error:
            raise CallFailed(f"failed to call webhook: {error}") from None
        try:
            return await self._link.post(target._replace(url=target.url + query), body, hook.seconds)
        except ServiceUnavailable as error:
            why = str(error.__cause__ or error).removeprefix(f"{target.url}{query}: ")
            if isinstance(error.__cause__, TimeoutError):
                why = "context deadline exceeded"
            raise CallFailed(f'failed to call webhook: Post "{_shown(client)}{query}": {why}') from None

    async def close(self) -> None:
        """Closes what is open."""
        await self._link.close()


def _shown(client: Obj) -> str:
    """The URL as it is configured: a Service is known by its name, not by the address that was chosen."""
    if client.get("url"):
        return str(client["url"])
    service = client.get("service") or {}
    path = service.get("path") or "/"
    return f"https://{service.get('name')}.{service.get('namespace')}.svc:{service.get('port') or 443}{path}"
