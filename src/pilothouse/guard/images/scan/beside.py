"""What is said of an image beside it in its registry, as far as it is asked for: a signature, SBOMs, VEX documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from pilothouse.guard.images.inventory.sbom import sbom_in
from pilothouse.guard.images.inventory.stated import with_sbom, without_sbom
from pilothouse.guard.images.match.vex import BadVex, Statement, Vouched, statements_of
from pilothouse.guard.images.model import Inventory, NotReadable
from pilothouse.guard.images.signed.documents import SBOM, VEX, Document, documents_of
from pilothouse.guard.images.signed.keys import Key
from pilothouse.guard.images.signed.verify import verify
from pilothouse.guard.images.source.attached import Attached, attached
from pilothouse.guard.images.source.image import Image

if TYPE_CHECKING:  # HTTP and TLS take 100 ms to import
    from pilothouse.guard.images.source.registry import Registry


class NotSigned(NotReadable):
    """None of the keys has signed the image; `why` says it of each signature there is."""

    def __init__(self, image: str, keys: Sequence[Key], reasons: Sequence[str]) -> None:
        self.why = "; ".join(reasons)
        super().__init__(f"{image}: not signed by {_names(keys)}: {self.why}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted: to be signed by one of the keys, and attached SBOMs and VEX documents to be heard; of the latter
    those that one of `voices` has signed, or one of the keys."""

    keys: tuple[Key, ...] = ()
    sbom: bool = False
    vex: bool = False
    voices: tuple[Key, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys) or self.sbom or self.vex


@dataclass(slots=True)
class Beside:
    """What was found. `reasons` say why an SBOM that was asked for cannot be used, `notes` what else was not heard."""

    signed_by: Key | None = None
    signed_digest: str = ""
    sboms: list[tuple[Document, Inventory]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    vouched: list[Vouched] = field(default_factory=list)
    """The documents that the statements are from."""
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def told(self, inventory: Inventory) -> Inventory:
        """The inventory with all of it."""
        if self.signed_by is not None:
            note = f"signed by {self.signed_by.name} ({self.signed_by.id[:19]})"
            inventory = msgspec.structs.replace(
                inventory, signed_by=self.signed_by.name, notes=(*inventory.notes, note)
            )
        for document, sbom in self.sboms:
            by = f", signed by {document.signed_by}" if document.signed_by else ""
            inventory = with_sbom(inventory, sbom, document.where + by)
        for reason in self.reasons:
            inventory = without_sbom(inventory, reason)
        return msgspec.structs.replace(inventory, notes=(*inventory.notes, *self.notes))


def look_beside(registry: Registry, image: Image, asked: Asked) -> Beside:
    """Raises NotSigned, NotReadable."""
    found = Beside()
    if not asked:
        return found
    entries = attached(registry, image.digest, image.index)
    digests = frozenset({image.digest, image.index} - {""})
    if asked.keys:
        verdict = verify(entries, digests, asked.keys)
        if verdict.key is None:
            raise NotSigned(image.name, asked.keys, verdict.reasons)
        found.signed_by, found.signed_digest = verdict.key, verdict.digest
    if asked.sbom:
        _read_sboms(entries, digests, asked.keys, found)
    if asked.vex:
        _read_vex(entries, digests, asked.voices or asked.keys, found)
    return found


def _read_sboms(entries: Sequence[Attached], digests: frozenset[str], keys: Sequence[Key], found: Beside) -> None:
    documents, reasons = documents_of(entries, SBOM, digests, keys)
    for document in documents:
        try:
            found.sboms.append((document, sbom_in(document.data, f"SBOM {document.where}")))
        except NotReadable as error:
            reasons.append(str(error))
    if not found.sboms and not reasons:
        reasons.append("no SBOM is attached to it")
    found.reasons += reasons


def _read_vex(entries: Sequence[Attached], digests: frozenset[str], keys: Sequence[Key], found: Beside) -> None:
    """Only what a key vouches for is heard: whoever may write to the repository may attach anything."""
    documents, reasons = documents_of(entries, VEX, digests, keys)
    ids = {key.name: key.id for key in keys}
    for document in documents:
        if not document.signed_by:
            reasons.append(f"VEX {document.where} is not signed by {_names(keys)}, and not heard")
            continue
        try:
            signer = document.signed_by
            vouched = Vouched(document.data, document.where, tuple(sorted(digests)), ids[signer], signer)
            found.statements += statements_of(vouched)
            found.vouched.append(vouched)
        except BadVex as error:
            reasons.append(f"VEX {document.where}: {error}")
    found.notes += reasons


def _names(keys: Sequence[Key]) -> str:
    return ", ".join(key.name for key in keys)
