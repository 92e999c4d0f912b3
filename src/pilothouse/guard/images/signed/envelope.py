"""Signed statements about images: DSSE envelopes, bare or in sigstore's bundles, with in-toto statements in them.

Sources: DSSE protocol 1.0 (pre-authentication encoding), in-toto attestation framework (Statement 0.1 and 1),
sigstore's bundle format 0.1 to 0.3. What is in an envelope counts only once a key has verified it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.signed.keys import Key
from pilothouse.guard.images.source.image import json_document

BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
"""Media types begin so."""
ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
_STATEMENTS: Final = ("https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and signatures over it, not verified. `keyless` has a certificate in place of a key."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]
    keyless: bool = False

    def signer(self, keys: Sequence[Key]) -> Key | None:
        """The first key that made one of the signatures."""
        kind = self.payload_type.encode()
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)
        return next((key for key in keys for sig in self.signatures if key.verifies(sig, signed)), None)


@dataclass(frozen=True, slots=True)
class Statement:
    """What an in-toto statement says of subjects, by digest."""

    subjects: frozenset[str]
    predicate_type: str
    predicate: Any


def envelope_in(data: bytes, what: str) -> Envelope:
    """The envelope of a document: bare, or in a bundle. Raises NotReadable."""
    tree = json_document(data, what)
    material = tree.get("verificationMaterial")
    keyless = isinstance(material, dict) and ("certificate" in material or "x509CertificateChain" in material)
    if "mediaType" in tree and "payload" not in tree:
        if "dsseEnvelope" not in tree:
            raise NotReadable(f"{what}: a bundle without an envelope, which is no signature of an image")
        tree = tree["dsseEnvelope"]
    if not isinstance(tree, dict) or not isinstance(tree.get("signatures"), list):
        raise NotReadable(f"{what}: no signed envelope")
    entries = [entry for entry in tree["signatures"] if isinstance(entry, dict)]
    if tree.get("payloadType") != IN_TOTO:
        raise NotReadable(f"{what}: its payload is {str(tree.get('payloadType'))[:80]!r}, not {IN_TOTO}")
    signatures = tuple(decoded(entry.get("sig"), what) for entry in entries[:16])
    return Envelope(IN_TOTO, decoded(tree.get("payload"), what), signatures, keyless)


def statement_in(data: bytes, what: str) -> Statement:
    """An in-toto statement. Raises NotReadable."""
    tree = json_document(data, what)
    if tree.get("_type") not in _STATEMENTS:
        raise NotReadable(f"{what}: no in-toto statement: its type is {str(tree.get('_type'))[:80]!r}")
    listed = tree.get("subject")
    digests = [entry.get("digest") for entry in (listed if isinstance(listed, list) else ()) if isinstance(entry, dict)]
    subjects = {f"{kind}:{value}" for found in digests if isinstance(found, dict) for kind, value in found.items()}
    return Statement(frozenset(subjects), str(tree.get("predicateType") or ""), tree.get("predicate"))


def decoded(text: object, what: str) -> bytes:
    """Bytes from base64, of either alphabet. Raises NotReadable."""
    try:
        return base64.b64decode(str(text or "").replace("-", "+").replace("_", "/"), validate=True)
    except ValueError as error:
        raise NotReadable(f"{what}: it is not base64") from error
