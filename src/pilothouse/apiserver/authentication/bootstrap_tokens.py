"""Bootstrap tokens `id.secret`, kept as Secrets `bootstrap-token-ID` in kube-system, with which a node joins.

Source: Kubernetes documentation, "Authenticating with Bootstrap Tokens".
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hmac
import re
from collections.abc import Callable

from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.apiserver.chain import ObjectReader
from pilothouse.client.wire import User
from pilothouse.kinds.core.secret import Secret
from pilothouse.machinery.objects import Obj, parse_timestamp

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def is_bootstrap_token(token: str) -> bool:
    """Whether a bearer token has the form of a bootstrap token."""
    return _TOKEN.fullmatch(token) is not None


class BootstrapTokens:
    """Recognises bootstrap tokens by their Secrets."""

    def __init__(self, objects: ObjectReader, now: Callable[[], dt.datetime] = _utc_now) -> None:
        self._objects = objects
        self._now = now

    def verify(self, token: str) -> User:
        """The user `system:bootstrap:ID`. Raises BadToken."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise BadToken("not a bootstrap token")
        token_id, secret = match.groups()
        found = self._objects.get(Secret.resource, NAMESPACE, f"bootstrap-token-{token_id}")
        if found is None or found.get("type") != SECRET_TYPE or found["metadata"].get("deletionTimestamp"):
            raise BadToken("no such bootstrap token")
        data = _texts(found)
        if not hmac.compare_digest(data.get("token-secret", ""), secret) or data.get("token-id") != token_id:
            raise BadToken("no such bootstrap token")
        if data.get("usage-bootstrap-authentication") != "true":
            raise BadToken("the bootstrap token is not meant for authentication")
        expiration = data.get("expiration")
        if expiration and _moment(expiration) <= self._now():
            raise BadToken("the bootstrap token has expired")
        extra = [group.strip() for group in data.get("auth-extra-groups", "").split(",") if group.strip()]
        if any(not _EXTRA_GROUP.fullmatch(group) for group in extra):
            raise BadToken("the bootstrap token's auth-extra-groups must begin with system:bootstrappers:")
        return User(f"system:bootstrap:{token_id}", (GROUP, *extra))


def _texts(secret: Obj) -> dict[str, str]:
    try:
        pairs = (secret.get("data") or {}).items()
        return {key: base64.b64decode(value).decode("ascii") for key, value in pairs}
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadToken("the bootstrap token's Secret cannot be read") from error


def _moment(text: str) -> dt.datetime:
    try:
        moment = parse_timestamp(text)
    except ValueError as error:
        raise BadToken("the bootstrap token's expiration cannot be read") from error
    if moment.tzinfo is None:
        raise BadToken("the bootstrap token's expiration names no time zone")
    return moment
