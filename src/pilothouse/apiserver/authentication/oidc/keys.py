"""Public keys of an issuer, and whether a signature is theirs. Pure.

Source: RFC 7517 (JSON Web Key), RFC 7518 (RS, PS and ES), RFC 8037 (EdDSA). Only these algorithms exist here: `none`
and those by a shared secret have no entry in the table, and a key serves for algorithms of its own type only, so a
public key is never taken for a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pilothouse.apiserver.authentication.jose import BadToken, decode

MOST_KEYS: Final = 100
_SHORTEST_RSA: Final = 2048
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: Final[dict[str, tuple[str, ec.EllipticCurve, int]]] = {
    "ES256": ("P-256", ec.SECP256R1(), 32),
    "ES384": ("P-384", ec.SECP384R1(), 48),
    "ES512": ("P-521", ec.SECP521R1(), 66),
}
"""By algorithm: the curve's name, the curve, and the bytes of each of the two numbers of a signature."""
ALGORITHMS: Final = frozenset({*_CURVES, *(f"{kind}{size}" for kind in ("RS", "PS") for size in _HASHES), "EdDSA"})
_Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class PublicKey(NamedTuple):
    """A key, and what it may be used for ("" for any algorithm of its type)."""

    id: str
    algorithm: str
    key: _Key

    def signed(self, algorithm: str, text: bytes, signature: bytes) -> bool:
        """Whether this key made the signature, by that algorithm."""
        if self.algorithm not in ("", algorithm):
            return False
        try:
            return _VERIFY[algorithm[:2]](self.key, algorithm, text, signature)
        except InvalidSignature:
            return False


def read_keys(tree: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """Keys of a JSON Web Key Set; those of other types or for other uses are left out."""
    found = []
    entries = tree.get("keys")
    for entry in entries[:MOST_KEYS] if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("use", "sig") == "sig":
            key = _read(entry)
            if key is not None:
                found.append(PublicKey(str(entry.get("kid") or ""), str(entry.get("alg") or ""), key))
    return tuple(found)


def check_signature(keys: Iterable[PublicKey], head: Mapping[str, Any], signed: str, signature: bytes) -> None:
    """Raises BadToken unless one of the keys made the signature; a key id in the header names the only one."""
    algorithm, wanted = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise BadToken(f"algorithm {algorithm!r} is none of {', '.join(sorted(ALGORITHMS))}")
    if "crit" in head:
        raise BadToken("the header asks for extensions that are not known")
    text = signed.encode()
    candidates = [key for key in keys if not wanted or not key.id or key.id == wanted]
    if not any(key.signed(algorithm, text, signature) for key in candidates):
        raise BadToken("the signature is of none of the issuer's keys")


def _read(entry: Mapping[str, Any]) -> _Key | None:
    try:
        match entry.get("kty"):
            case "RSA":
                key = rsa.RSAPublicNumbers(_number(entry["e"]), _number(entry["n"])).public_key()
                return key if key.key_size >= _SHORTEST_RSA else None
            case "EC":
                curve = next(curve for name, curve, _ in _CURVES.values() if name == entry["crv"])
                return ec.EllipticCurvePublicNumbers(_number(entry["x"]), _number(entry["y"]), curve).public_key()
            case "OKP" if entry.get("crv") == "Ed25519":
                return ed25519.Ed25519PublicKey.from_public_bytes(decode(entry["x"]))
    except (BadToken, KeyError, StopIteration, TypeError, UnsupportedAlgorithm, ValueError):
        return None
    return None


def _number(text: str) -> int:
    return int.from_bytes(decode(text), "big")


def _rsa(key: _Key, algorithm: str, text: bytes, signature: bytes) -> bool:
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    digest = _HASHES[algorithm[2:]]
    how: padding.AsymmetricPadding = padding.PKCS1v15()
    if algorithm.startswith("PS"):
        how = padding.PSS(padding.MGF1(digest), digest.digest_size)
    key.verify(signature, text, how, digest)
    return True


def _ecdsa(key: _Key, algorithm: str, text: bytes, signature: bytes) -> bool:
    _, curve, size = _CURVES[algorithm]
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve.name or len(signature) != 2 * size:
        return False
    r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
    key.verify(encode_dss_signature(r, s), text, ec.ECDSA(_HASHES[algorithm[2:]]))
    return True


def _eddsa(key: _Key, algorithm: str, text: bytes, signature: bytes) -> bool:
    if not isinstance(key, ed25519.Ed25519PublicKey):
        return False
    key.verify(signature, text)
    return True


_VERIFY: Final = {"RS": _rsa, "PS": _rsa, "ES": _ecdsa, "Ed": _eddsa}
