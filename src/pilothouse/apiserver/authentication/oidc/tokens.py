"""Recognises tokens of configured issuers. What that takes (cryptography, CEL) is loaded when there is one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from pilothouse.apiserver.authentication.jose import BadToken, split
from pilothouse.apiserver.authentication.names import authenticated
from pilothouse.client.wire import User

if TYPE_CHECKING:
    from pilothouse.apiserver.authentication.oidc.claims import ClaimsReader
    from pilothouse.apiserver.authentication.oidc.config import AuthenticationSettings, JwtSettings
    from pilothouse.apiserver.authentication.oidc.issuer import Issuer

_REMEMBERED: Final = 4096


class _Known(NamedTuple):
    user: User
    until: float
    issuer: Issuer
    version: int


class OidcTokens:
    """Tokens of the issuers of an AuthenticationConfiguration, which may change while it is used."""

    def __init__(
        self,
        settings: Callable[[], AuthenticationSettings | None],
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._now = now
        self._elapsed = elapsed
        self._seen: AuthenticationSettings | None = None
        self._issuers: dict[str, tuple[Issuer, ClaimsReader]] = {}
        self._known: dict[bytes, _Known] = {}

    @property
    def configured(self) -> bool:
        """Whether there is any issuer."""
        settings = self._settings()
        return settings is not None and bool(settings.jwt)

    def admits_anonymous(self, path: str) -> bool:
        """Whether a request without credentials is let in."""
        settings = self._settings()
        return settings is None or settings.anonymous is None or settings.anonymous.admits(path)

    async def verify(self, token: str) -> User | None:
        """The user of a token, None for one of another issuer. Raises BadToken."""
        from pilothouse.apiserver.authentication.oidc.keys import ALGORITHMS, check_signature

        self._follow()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None:
            if self._now() < known.until and known.issuer.version == known.version:
                return known.user
            del self._known[digest]
        signed, head, claims, signature = split(token)
        found = self._issuers.get(str(claims.get("iss")))
        if found is None:
            return None
        issuer, reader = found
        if head.get("alg") not in ALGORITHMS:
            raise BadToken(f"algorithm {head.get('alg')!r} is not accepted")
        key_id = head.get("kid")
        keys = await issuer.keys(key_id if isinstance(key_id, str) else "")
        check_signature(keys, head, signed, signature)
        user, until = reader.user(claims, self._now())
        user = authenticated(user)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = _Known(user, until, issuer, issuer.version)
        return user

    async def close(self) -> None:
        for issuer, _ in self._issuers.values():
            await issuer.close()

    def _follow(self) -> None:
        """Takes on other settings; an issuer that has not changed keeps its keys."""
        settings = self._settings()
        if settings is self._seen:
            return
        self._seen = settings
        self._known.clear()
        self._issuers = {entry.issuer.url: self._made(entry) for entry in (settings.jwt if settings else ())}

    def _made(self, entry: JwtSettings) -> tuple[Issuer, ClaimsReader]:
        from pilothouse.apiserver.authentication.oidc.claims import ClaimsReader
        from pilothouse.apiserver.authentication.oidc.issuer import Issuer

        old = self._issuers.get(entry.issuer.url)
        issuer = old[0] if old is not None and old[0].settings == entry.issuer else Issuer(entry.issuer, self._elapsed)
        return issuer, ClaimsReader(entry)
