"""The authenticator: each way of saying who one is in turn, then impersonation."""

from __future__ import annotations

import logging

from pilothouse.apiserver import by_websocket
from pilothouse.apiserver.authentication.bootstrap_tokens import BootstrapTokens, is_bootstrap_token
from pilothouse.apiserver.authentication.impersonation import impersonate, wish
from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.apiserver.authentication.names import ANONYMOUS, UNAUTHENTICATED, authenticated
from pilothouse.apiserver.authentication.oidc.tokens import OidcTokens
from pilothouse.apiserver.authentication.service_accounts import ServiceAccountTokens
from pilothouse.apiserver.chain import Authorizer
from pilothouse.client.wire import Request, User
from pilothouse.machinery.errors import Unauthorized

_ANONYMOUS = User(ANONYMOUS, (UNAUTHENTICATED,))
log = logging.getLogger(__name__)


class TokenAuthenticator:
    """`request.user` (a certificate, a component of this process), else a bearer token, else anonymous.

    A token that is not good is an error, never anonymous: its bearer would wonder why so little is allowed.
    """

    def __init__(
        self,
        service_accounts: ServiceAccountTokens,
        bootstrap: BootstrapTokens,
        authorizer: Authorizer,
        oidc: OidcTokens | None = None,
    ) -> None:
        self._service_accounts = service_accounts
        self._bootstrap = bootstrap
        self._authorizer = authorizer
        self._oidc = oidc

    async def authenticate(self, request: Request) -> User:
        """Raises Unauthorized for a bad token, BadRequest and Forbidden for impersonation."""
        user = request.asker = await self._who(request)
        wanted = wish(request.headers)
        return user if wanted is None else await impersonate(user, wanted, self._authorizer)

    async def _who(self, request: Request) -> User:
        if request.user is not None:
            return authenticated(request.user)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme and (offered := by_websocket.token(request.headers)):
            scheme, token = "bearer", offered
        if not scheme:
            if self._oidc is not None and not self._oidc.admits_anonymous(request.path):
                raise Unauthorized("Unauthorized")
            return _ANONYMOUS
        if scheme.lower() != "bearer":
            raise Unauthorized("Unauthorized")
        try:
            return await self.token_user(token.strip())
        except BadToken as error:
            log.info("refused a bearer token: %s", error)
            raise Unauthorized("Unauthorized") from error

    async def token_user(self, token: str) -> User:
        """The user of a bearer token. Raises BadToken."""
        return await self.other_user(token) or self._service_accounts.verify(token)[0]

    async def other_user(self, token: str) -> User | None:
        """The user of a token that is not a service account's, None for one that is or seems to be. Raises BadToken."""
        if is_bootstrap_token(token):
            return authenticated(self._bootstrap.verify(token))
        if self._oidc is not None and self._oidc.configured:
            return await self._oidc.verify(token)
        return None
