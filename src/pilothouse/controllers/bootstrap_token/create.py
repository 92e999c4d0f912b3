"""Makes join tokens: what one machine needs to trust the cluster, and the cluster to let it in, in one line of text."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets

from pilothouse.client.client import Client
from pilothouse.kinds.core.secret import Secret
from pilothouse.machinery.objects import timestamp

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_FORM = "ph1"


async def create_join_token(
    client: Client, ttl: float, ca_der: bytes, *, description: str = "", now: dt.datetime | None = None
) -> str:
    """A new token, good for `ttl` seconds: `ph1.<sha256 of the authority's DER>.<id>.<secret>`. Raises ApiError.

    `client` must be allowed to create Secrets in kube-system.
    """
    token_id, secret = _random(6), _random(16)
    end = (now or dt.datetime.now(dt.UTC)) + dt.timedelta(seconds=ttl)
    data = {
        "token-id": token_id,
        "token-secret": secret,
        "expiration": timestamp(end),
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "false",
    }
    if description:
        data["description"] = description
    tree = {"metadata": {"name": f"bootstrap-token-{token_id}"}, "type": SECRET_TYPE, "stringData": data}
    await client.create_tree(Secret.resource, tree, NAMESPACE)
    return f"{_FORM}.{hashlib.sha256(ca_der).hexdigest()}.{token_id}.{secret}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
