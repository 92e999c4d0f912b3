"""SBOMs and VEX documents that are attached to an image: as they are, in in-toto statements, signed or not. Pure.

Sources: cosign's attestation specification (predicate types), BuildKit's SBOM attestations (unsigned statements), OCI
artefacts whose layer is the document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.signed.envelope import BUNDLE, ENVELOPE, IN_TOTO, envelope_in, statement_in
from pilothouse.guard.images.signed.keys import Key
from pilothouse.guard.images.source.attached import Attached, readable

SBOM: Final = "sbom"
VEX: Final = "vex"
_LARGEST: Final = 64 * MIB
_PREDICATES: Final = (
    ("https://cyclonedx.org/bom", SBOM),
    ("https://spdx.dev/Document", SBOM),
    ("https://openvex.dev/ns", VEX),
)
_MEDIA_TYPES: Final = {
    "application/vnd.cyclonedx+json": SBOM,
    "application/spdx+json": SBOM,
    "text/spdx+json": SBOM,
    "application/openvex+json": VEX,
    "application/vnd.openvex+json": VEX,
}


class Document(NamedTuple):
    """What an attached document says; `signed_by` is the name of the key that vouches for it, "" for none."""

    kind: str
    data: bytes
    where: str
    signed_by: str = ""


def documents_of(
    entries: Sequence[Attached], kind: str, digests: Collection[str], keys: Sequence[Key] = ()
) -> tuple[list[Document], list[str]]:
    """All of a kind that are about one of the digests, and why others could not be read."""
    found: list[Document] = []
    reasons: list[str] = []
    for entry, data in readable(entries, _wanted(kind), _LARGEST):
        try:
            if isinstance(data, str):
                raise NotReadable(data)
            document = _document(entry, data, digests, keys)
        except NotReadable as error:
            reasons.append(str(error))
            continue
        if document is not None and document.kind == kind:
            found.append(document)
    return found, reasons


def _wanted(kind: str) -> Callable[[Attached], bool]:
    def wanted(entry: Attached) -> bool:
        named = entry.annotations.get("in-toto.io/predicate-type") or entry.annotations.get("predicateType") or ""
        if entry.media_type in (ENVELOPE, IN_TOTO) or entry.media_type.startswith(BUNDLE):
            return not named or _kind(named) == kind
        return _MEDIA_TYPES.get(entry.media_type.partition(";")[0]) == kind

    return wanted


def _kind(predicate_type: str) -> str:
    return next((kind for prefix, kind in _PREDICATES if predicate_type.startswith(prefix)), "")


def _document(entry: Attached, data: bytes, digests: Collection[str], keys: Sequence[Key]) -> Document | None:
    plain = _MEDIA_TYPES.get(entry.media_type.partition(";")[0])
    if plain is not None:
        return Document(plain, data, entry.where)
    what = f"attestation {entry.where}"
    signer: Key | None = None
    if entry.media_type != IN_TOTO:
        envelope = envelope_in(data, what)
        signer = envelope.signer(keys)
        data = envelope.payload
    statement = statement_in(data, what)
    kind = _kind(statement.predicate_type)
    if not kind:
        return None
    if statement.subjects.isdisjoint(digests):
        raise NotReadable(f"{what}: it is about another image ({', '.join(sorted(statement.subjects))[:100]})")
    return Document(kind, _text(statement.predicate), entry.where, signer.name if signer is not None else "")


def _text(predicate: Any) -> bytes:
    """The document; cosign has wrapped some in an object with `Data`."""
    if isinstance(predicate, dict) and isinstance(predicate.get("Data"), str | dict):
        predicate = predicate["Data"]
    return predicate.encode() if isinstance(predicate, str) else msgspec.json.encode(predicate)
