"""What others need to check service account tokens without asking: the issuer's discovery document and its keys."""

from __future__ import annotations

import orjson

from pilothouse.apiserver.authentication.jose import SigningKey

JWKS_PATH = "/openid/v1/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"


def documents(issuer: str, key: SigningKey) -> dict[str, bytes]:
    """The two documents by path (for `Chain.documents`)."""
    discovery = {
        "issuer": issuer,
        "jwks_uri": issuer.rstrip("/") + JWKS_PATH,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    return {DISCOVERY_PATH: orjson.dumps(discovery), JWKS_PATH: orjson.dumps({"keys": [key.jwk()]})}
