"""Public keys that may vouch for images: ECDSA over P-256, RSA and Ed25519, as PEM files.

Sources: cosign's signature specification (ECDSA P-256 over SHA-256); sigstore's defaults for the others (RSA with
PKCS#1 v1.5 and SHA-256, Ed25519 over the bytes themselves). `cryptography` is imported when a key is read: few scans
need it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_SMALLEST_RSA: Final = 2048


class BadKey(ValueError):
    """The text is no public key that can be used; the message says why, without the text."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key under the name that people know it by. `id` is SHA-256 of its SubjectPublicKeyInfo."""

    name: str
    id: str
    _key: EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey = field(repr=False, compare=False)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether it made the signature over these bytes."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def public_key(text: bytes, name: str) -> Key:
    """The key of a PEM text. Raises BadKey."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    except ImportError as error:
        raise BadKey("to verify needs the package cryptography: pip install 'pilothouse[verify]'") from error

    if b"PRIVATE KEY" in text:
        raise BadKey("that is a private key: it belongs to whoever signs; here goes the public one (cosign.pub)")
    try:
        key = serialization.load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("no public key in PEM form (-----BEGIN PUBLIC KEY-----)") from error
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise BadKey(f"an elliptic curve key over {key.curve.name}; P-256 is verified")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise BadKey(f"an RSA key of {key.key_size} bits; {_SMALLEST_RSA} are the least")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise BadKey("a key of another kind: ECDSA P-256, RSA and Ed25519 are verified")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, form)
    return Key(name, f"sha256:{hashlib.sha256(der).hexdigest()}", key)
