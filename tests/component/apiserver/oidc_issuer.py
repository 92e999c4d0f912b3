"""An OpenID Connect issuer on loopback: publishes keys, signs tokens."""

from __future__ import annotations

import base64
import time
from typing import Any

import orjson
from aiohttp import web
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from edge_certificates import Certificates

from pilothouse.apiserver.authentication.jose import encode

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Signer:
    """A private key of the issuer, and how it signs."""

    def __init__(self, key_id: str, algorithm: str) -> None:
        self.id = key_id
        self.algorithm = algorithm
        self.key: Private = {
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
            "PS256": lambda: rsa.generate_private_key(65537, 2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[algorithm]()

    def jwk(self) -> dict[str, str]:
        public = self.key.public_key()
        common = {"kid": self.id, "use": "sig", "alg": self.algorithm}
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_numbers()
            name = {"secp256r1": "P-256", "secp521r1": "P-521"}[public.curve.name]
            size = (public.key_size + 7) // 8
            return {**common, "kty": "EC", "crv": name, "x": _number(point.x, size), "y": _number(point.y, size)}
        return {**common, "kty": "OKP", "crv": "Ed25519", "x": encode(public.public_bytes_raw())}

    def token(self, claims: dict[str, Any], **head: Any) -> str:
        """Signed, whatever the header says besides."""
        text = _text({"alg": self.algorithm, "kid": self.id, **head}, claims)
        return f"{text}.{encode(self._sign(text.encode()))}"

    def _sign(self, text: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            digest = hashes.SHA256()
            if self.algorithm == "PS256":
                return self.key.sign(text, padding.PSS(padding.MGF1(digest), 32), digest)
            return self.key.sign(text, padding.PKCS1v15(), digest)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            size = (self.key.key_size + 7) // 8
            digest = hashes.SHA256() if size == 32 else hashes.SHA512()
            r, s = decode_dss_signature(self.key.sign(text, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return self.key.sign(text)


class OidcIssuer:
    """Serves a discovery document and a key set over TLS, and counts how often it is asked."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self.signers: list[Signer] = []
        self.document: dict[str, Any] = {}
        self.asked = 0
        self.down = False
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discover)
        app.router.add_get("/keys", self._keys)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificates.server_context())
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        self.document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    async def close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def claims(self, **others: Any) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.url, "aud": "cluster", "exp": now + 600, "iat": now, "sub": "ann", **others}

    async def _discover(self, request: web.Request) -> web.Response:
        if self.down:
            raise web.HTTPServiceUnavailable
        return web.json_response(self.document)

    async def _keys(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": [signer.jwk() for signer in self.signers]})


def unsigned(claims: dict[str, Any]) -> str:
    """Algorithm `none`."""
    return f"{_text({'alg': 'none'}, claims)}."


def signed_by_public_key(signer: Signer, claims: dict[str, Any]) -> str:
    """HS256 with the public key as the secret, for a server that confuses the two."""
    text = _text({"alg": "HS256", "kid": signer.id}, claims)
    secret = signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    code = hmac.HMAC(secret, hashes.SHA256())
    code.update(text.encode())
    return f"{text}.{encode(code.finalize())}"


def _text(head: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{encode(orjson.dumps(head))}.{encode(orjson.dumps(claims))}"


def _number(value: int, size: int = 0) -> str:
    data = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
