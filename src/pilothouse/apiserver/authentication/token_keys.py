"""The keys of service account tokens: one signs, all are published, and all are recognised.

A key is published before it signs, so that whoever keeps a copy of the published keys knows it by then; one that has
signed stays until the last of its tokens has ended. Keys may be exchanged while requests are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pilothouse.apiserver.authentication.jose import BadToken, SigningKey, split


def _not_noted(end: int) -> None:
    return None


class TokenKeys:
    """`others` are the keys to come and those that have signed. `issued` is told when each token ends, before it is
    handed out (seconds since 1970)."""

    def __init__(
        self, signer: SigningKey, others: Sequence[SigningKey] = (), issued: Callable[[int], None] = _not_noted
    ) -> None:
        self._issued = issued
        self._by_id: dict[str, SigningKey] = {}
        self._signer = signer
        self.exchange(signer, others)

    def exchange(self, signer: SigningKey, others: Sequence[SigningKey]) -> None:
        """Signs with another key from now on. A key that is there already keeps what it remembers."""
        found = [self._by_id.get(key.key_id, key) for key in (signer, *others)]
        self._by_id = {key.key_id: key for key in found}
        self._signer = found[0]

    def sign(self, claims: dict[str, Any]) -> str:
        """The token for these claims."""
        self._issued(claims["exp"])
        return self._signer.sign(claims)

    def verify(self, token: str) -> dict[str, Any]:
        """As `SigningKey.verify`, by the key that the token names. Raises BadToken."""
        _, head, _, _ = split(token)
        key = self._by_id.get(str(head.get("kid", self._signer.key_id)))
        if key is None:
            raise BadToken("signed by another key")
        return key.verify(token)

    def published(self) -> list[dict[str, str]]:
        """The public keys as JSON Web Keys."""
        return [key.jwk() for key in self._by_id.values()]
