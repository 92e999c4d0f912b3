"""Service account tokens for pods: bound to the pod, and renewed before they expire."""

from __future__ import annotations

import time
from dataclasses import dataclass

import orjson

from pilothouse.client.client import Client
from pilothouse.kinds.core.pod import Pod, ServiceAccountTokenProjection
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.machinery.objects import parse_timestamp

_DEFAULT_SECONDS = 3600
_RENEW_AT = 0.8
"""The share of its life after which a token is replaced (upstream's figure)."""
_RENEW_AT_MOST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    renew_at: float
    expires: str = ""
    """As the API says it."""


class Tokens:
    """Asks for tokens and remembers them until they are to be renewed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._held: dict[tuple[str, str, int], Token] = {}

    async def get(self, pod: Pod, projection: ServiceAccountTokenProjection) -> Token:
        """A token good for a while yet. Raises ApiError."""
        seconds = projection.expiration_seconds or _DEFAULT_SECONDS
        key = (pod.metadata.uid, projection.audience, seconds)
        held = self._held.get(key)
        now = time.time()
        if held is not None and now < held.renew_at:
            return held
        account = pod.spec.service_account_name or "default"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [projection.audience] if projection.audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.metadata.uid},
            },
        }
        path = ServiceAccount.resource.path(pod.namespace, account, "token")
        status = orjson.loads(await self._client.request("POST", path, body=body))["status"]
        life = parse_timestamp(status["expirationTimestamp"]).timestamp() - now
        held = self._held[key] = Token(
            status["token"], now + min(life * _RENEW_AT, _RENEW_AT_MOST), status["expirationTimestamp"]
        )
        return held

    def release(self, uid: str) -> None:
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]
