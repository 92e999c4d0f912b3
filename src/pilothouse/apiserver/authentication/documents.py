"""What others need to check service account tokens without asking: the issuer's discovery document and its keys."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from pilothouse.apiserver.authentication.token_keys import TokenKeys

JWKS_PATH = "/openid/v1/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"


def documents(issuer: str, keys: TokenKeys) -> dict[str, Callable[[], bytes]]:
    """The two documents by path (for `Chain.documents`), as they are when they are asked for."""
    discovery = {
        "issuer": issuer,
        "jwks_uri": issuer.rstrip("/") + JWKS_PATH,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    return {
        DISCOVERY_PATH: lambda: orjson.dumps(discovery),
        JWKS_PATH: lambda: orjson.dumps({"keys": keys.published()}),
    }
