"""The authenticator: each way of saying who one is in turn, then impersonation."""

from __future__ import annotations

import logging

from pilothouse.apiserver.authentication.bootstrap_tokens import BootstrapTokens, is_bootstrap_token
from pilothouse.apiserver.authentication.impersonation import impersonate, wish
from pilothouse.apiserver.authentication.jose import BadToken
from pilothouse.apiserver.authentication.names import ANONYMOUS, UNAUTHENTICATED, authenticated
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
        self, service_accounts: ServiceAccountTokens, bootstrap: BootstrapTokens, authorizer: Authorizer
    ) -> None:
        self._service_accounts = service_accounts
        self._bootstrap = bootstrap
        self._authorizer = authorizer

    async def authenticate(self, request: Request) -> User:
        """Raises Unauthorized for a bad token, BadRequest and Forbidden for impersonation."""
        user = request.asker = self._who(request)
        wanted = wish(request.headers)
        return user if wanted is None else await impersonate(user, wanted, self._authorizer)

    def _who(self, request: Request) -> User:
        if request.user is not None:
            return authenticated(request.user)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return _ANONYMOUS
        if scheme.lower() != "bearer":
            raise Unauthorized("Unauthorized")
        try:
            return self.token_user(token.strip())
        except BadToken as error:
            log.info("refused a bearer token: %s", error)
            raise Unauthorized("Unauthorized") from error

    def token_user(self, token: str) -> User:
        """The user of a bearer token. Raises BadToken."""
        if is_bootstrap_token(token):
            return authenticated(self._bootstrap.verify(token))
        return self._service_accounts.verify(token)[0]
