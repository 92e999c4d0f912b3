"""Whether one of some keys has signed an image: cosign's signatures, by tag and by referrer. No I/O but through `read`.

Sources: cosign's signature specification (simple signing payloads; `docker-reference` is not compared, so that a mirror
may serve what was signed elsewhere: the digest says what it is) and its bundle specification. A transparency log is not
asked: who trusts a key trusts what it signed. Keyless signatures are told, and not verified.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.signed.envelope import BUNDLE, decoded, envelope_in, statement_in
from pilothouse.guard.images.signed.keys import Key
from pilothouse.guard.images.source.attached import Attached, readable
from pilothouse.guard.images.source.image import json_document

SIMPLE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_TYPE: Final = "cosign container image signature"
_SIGNED: Final = "https://sigstore.dev/cosign/sign/v1"
_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
_LARGEST: Final = MIB
_REASONS: Final = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """The key that signed an image and which of its digests, None with the reasons when none did."""

    key: Key | None = None
    digest: str = ""
    reasons: tuple[str, ...] = ()


def verify(documents: Sequence[Attached], digests: Collection[str], keys: Sequence[Key]) -> Verdict:
    """Whether a key has signed one of the digests (the image's own, or that of the index it is in)."""
    reasons: list[str] = []
    for entry, data in readable(documents, _is_signature, _LARGEST):
        if isinstance(data, str):
            reasons.append(data)
            continue
        try:
            judge = _simple if entry.media_type == SIMPLE else _bundle
            verdict = judge(entry, data, digests, keys)
        except NotReadable as error:
            reasons.append(str(error))
            continue
        if verdict is not None:
            return verdict
    return Verdict(reasons=tuple(dict.fromkeys(reasons))[:_REASONS] or ("it has no signature in its registry",))


def _is_signature(entry: Attached) -> bool:
    return entry.media_type == SIMPLE or entry.media_type.startswith(BUNDLE)


def _simple(entry: Attached, data: bytes, digests: Collection[str], keys: Sequence[Key]) -> Verdict:
    what = f"signature {entry.where}"
    signature = decoded(entry.annotations.get(_SIGNATURE), what)
    key = next((key for key in keys if signature and key.verifies(signature, data)), None)
    if key is None:
        raise NotReadable(f"{what}: {_not_by(keys, keyless=_CERTIFICATE in entry.annotations)}")
    payload = json_document(data, what)
    critical = payload.get("critical")
    image = critical.get("image") if isinstance(critical, dict) else None
    if not isinstance(critical, dict) or not isinstance(image, dict) or critical.get("type") != _TYPE:
        raise NotReadable(f"{what}: key {key.name} signed it, but it is no signature of an image")
    signed = str(image.get("docker-manifest-digest") or image.get("Docker-manifest-digest"))
    return _matching(what, key, {signed}, digests)


def _bundle(entry: Attached, data: bytes, digests: Collection[str], keys: Sequence[Key]) -> Verdict | None:
    """None for a signed statement of another kind, such as an SBOM: that vouches for no image."""
    what = f"signature {entry.where}"
    envelope = envelope_in(data, what)
    statement = statement_in(envelope.payload, what)
    if statement.predicate_type != _SIGNED:
        return None
    key = envelope.signer(keys)
    if key is None:
        raise NotReadable(f"{what}: {_not_by(keys, keyless=envelope.keyless)}")
    return _matching(what, key, statement.subjects, digests)


def _matching(what: str, key: Key, signed: Collection[str], digests: Collection[str]) -> Verdict:
    own = sorted(set(digests) & set(signed))
    if not own:
        shown = ", ".join(sorted(signed))[:100]
        raise NotReadable(f"{what}: key {key.name} signed another image ({shown})")
    return Verdict(key, own[0])


def _not_by(keys: Sequence[Key], *, keyless: bool) -> str:
    if keyless:
        return "it is keyless (a certificate in place of a key), which is not verified here"
    names = ", ".join(key.name for key in keys[:5]) + (" …" if len(keys) > 5 else "")
    return f"it was not made by {names}, or not over this payload"
