"""JSON Web Tokens in compact form, signed with ECDSA on P-256 (`ES256`); no other algorithm is accepted.

Source: RFC 7515 (signature), RFC 7518 section 3.4 (ES256), RFC 7638 is not used: the key id is the SHA-256 of the
public key's DER, as upstream's API server writes it. Cryptography is loaded when a token is first signed or checked.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_SIZE = 32
"""Bytes of each of the two integers of a signature."""
_REMEMBERED = 4096
"""Tokens whose signature is not checked again."""
_LONGEST = 16 * 1024
"""Characters; a longer token is refused unread."""


class BadToken(Exception):
    """A token that is malformed or not signed by this key; the message is for logs, not for the bearer."""


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Raises BadToken."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise BadToken(f"not base64url: {error}") from error


class SigningKey:
    """A private key (PEM) that signs claims and recognises its own signatures."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem
        self._verified: dict[bytes, bytes] = {}
        """Claims, as JSON, by the hash of tokens whose signature was found good: it stays good."""

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = serialization.load_pem_private_key(self._pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("the key that signs service account tokens must be an elliptic curve key on P-256")
        return key

    @cached_property
    def key_id(self) -> str:
        from cryptography.hazmat.primitives import serialization

        der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return encode(hashlib.sha256(der).digest())

    def jwk(self) -> dict[str, str]:
        """The public key as a JSON Web Key."""
        numbers = self._key.public_key().public_numbers()
        return {
            "use": "sig",
            "kty": "EC",
            "kid": self.key_id,
            "crv": "P-256",
            "alg": "ES256",
            "x": encode(numbers.x.to_bytes(_SIZE, "big")),
            "y": encode(numbers.y.to_bytes(_SIZE, "big")),
        }

    def sign(self, claims: dict[str, Any]) -> str:
        """The token for these claims."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        head = encode(orjson.dumps({"alg": "ES256", "kid": self.key_id}))
        signed = f"{head}.{encode(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{encode(r.to_bytes(_SIZE, 'big') + s.to_bytes(_SIZE, 'big'))}"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token with a good signature. Raises BadToken; times and audiences are not looked at.

        A signature is checked once: that takes longer than all the rest of a get.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None:
            claims: dict[str, Any] = orjson.loads(known)
            return claims
        payload = self._verify(token)
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[digest] = orjson.dumps(payload)
        return payload

    def _verify(self, token: str) -> dict[str, Any]:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        signed, head, payload, signature = split(token)
        if head.get("alg") != "ES256" or head.get("kid", self.key_id) != self.key_id:
            raise BadToken("signed by another key or algorithm")
        if len(signature) != 2 * _SIZE:
            raise BadToken("the signature has the wrong length")
        r, s = int.from_bytes(signature[:_SIZE], "big"), int.from_bytes(signature[_SIZE:], "big")
        try:
            self._key.public_key().verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise BadToken("the signature does not match") from error
        return payload


def split(token: str) -> tuple[str, dict[str, Any], dict[str, Any], bytes]:
    """The signed text, header, claims (not verified!) and signature. Raises BadToken."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _LONGEST or not token.isascii():
        raise BadToken("not a signed token")
    try:
        head, payload = orjson.loads(decode(parts[0])), orjson.loads(decode(parts[1]))
    except orjson.JSONDecodeError as error:
        raise BadToken(f"not JSON: {error}") from error
    if not isinstance(head, dict) or not isinstance(payload, dict):
        raise BadToken("header and claims must be objects")
    return f"{parts[0]}.{parts[1]}", head, payload, decode(parts[2])
