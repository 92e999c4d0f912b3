"""Puts the server's chain together: who asks, whether they may, and what is admitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pilothouse.apiserver.admission.steps import Mutator, Validator, standard_chain
from pilothouse.apiserver.authentication.authenticator import TokenAuthenticator
from pilothouse.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from pilothouse.apiserver.authentication.documents import documents
from pilothouse.apiserver.authentication.jose import SigningKey
from pilothouse.apiserver.authentication.oidc.tokens import OidcTokens
from pilothouse.apiserver.authentication.service_accounts import ServiceAccountTokens
from pilothouse.apiserver.authentication.token_keys import TokenKeys
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.authorization.node import NodeAuthorizer
from pilothouse.apiserver.authorization.node_graph import NodeGraph
from pilothouse.apiserver.authorization.rbac import RbacAuthorizer
from pilothouse.apiserver.authorization.reviews import Reviews
from pilothouse.apiserver.authorization.webhook.ordered import ConfiguredOrder
from pilothouse.apiserver.chain import Authorizer, Chain
from pilothouse.apiserver.reader import StoreReader
from pilothouse.store.store import Store

if TYPE_CHECKING:
    from pilothouse.apiserver.authorization.webhook.config import AuthorizationSettings


def build_chain(
    store: Store,
    service_account_key: bytes | TokenKeys,
    issuer: str,
    extra: Sequence[Validator] = (),
    last: Sequence[Mutator] = (),
    *,
    oidc: OidcTokens | None = None,
    authorization: Callable[[], AuthorizationSettings | None] = lambda: None,
) -> Chain:
    """The chain over a store. `service_account_key` (PEM, or keys that may change) signs service account tokens;
    `issuer` is the URL they name, `https://kubernetes.default.svc.DOMAIN`; `extra` are steps of admission that the API
    server does not know, `last` those of them that change what is written; `oidc` knows the tokens of other issuers,
    `authorization` says which authorisers are asked."""
    objects = StoreReader(store)
    index = RbacIndex(store)
    builtin: dict[str, Authorizer] = {"Node": NodeAuthorizer(NodeGraph(store), objects), "RBAC": RbacAuthorizer(index)}
    authorizer = ConfiguredOrder(builtin, authorization)
    keys = service_account_key
    if not isinstance(keys, TokenKeys):
        keys = TokenKeys(SigningKey(keys))
    tokens = ServiceAccountTokens(objects, keys, issuer)
    authenticator = TokenAuthenticator(tokens, BootstrapTokens(objects), authorizer, oidc)
    return Chain(
        authenticator=authenticator,
        authorizer=authorizer,
        admission=standard_chain(store, objects, authorizer, index, extra, last),
        token_issuer=tokens,
        reviews=Reviews(authorizer, index, authenticator, tokens).resources(),
        documents=documents(issuer, keys),
        ends=(authorizer.close, *((oidc.close,) if oidc is not None else ())),
    )
