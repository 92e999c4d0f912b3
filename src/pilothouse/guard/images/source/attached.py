"""Documents that a registry keeps beside an image: signatures, attestations, SBOMs.

Sources: OCI distribution specification 1.1 (referrers API, referrers tag schema); cosign's signature specification
(tags `sha256-….sig`, `.att`, `.sbom`); BuildKit's attestation storage (manifests in the image's index).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.image import INDEXES, checked_digest

if TYPE_CHECKING:  # HTTP and TLS take 100 ms to import
    from pilothouse.guard.images.source.registry import Registry

_MANIFESTS: Final = 64
"""Manifests looked at for one digest; whoever may write to a repository may put any number there."""
_LAYERS: Final = 64
_COSIGN_TAGS: Final = ("sig", "att", "sbom")


@dataclass(frozen=True, slots=True)
class Attached:
    """One document beside the image of digest `subject`; `read` gives its verified bytes, at most so many as it is
    called with, and raises NotReadable."""

    subject: str
    media_type: str
    artifact_type: str
    annotations: Mapping[str, str]
    where: str
    read: Callable[[int], bytes]


def attached(registry: Registry, digest: str, index: str = "") -> list[Attached]:
    """All documents beside an image, and beside the index it was chosen from. Raises NotReadable."""
    found: list[Attached] = []
    for subject in dict.fromkeys((digest, index)):
        if subject:
            found += [entry for manifest in _manifests(registry, subject) for entry in manifest]
    if index:
        found += [entry for manifest in _in_index(registry, digest, index) for entry in manifest]
    return found


def _manifests(registry: Registry, subject: str) -> Iterator[list[Attached]]:
    for entry in _referrers(registry, subject):
        digest = checked_digest(entry.get("digest"), f"{registry.name}: a referrer")
        document = registry.document(digest)
        if document is not None and _object(document.get("subject")).get("digest") == subject:
            yield _documents(registry, subject, document, str(entry.get("artifactType") or ""), digest)
    for suffix in _COSIGN_TAGS:
        tag = f"{_tag(subject)}.{suffix}"
        document = registry.document(tag)
        if document is not None:
            yield _documents(registry, subject, document, "", tag)


def _referrers(registry: Registry, subject: str) -> list[dict[str, Any]]:
    """Descriptors by the API, or by the tag that stands in for it where a registry has none."""
    listed = registry.referrers(subject)
    if listed is None:
        listed = registry.document(_tag(subject)) or {}
    return list(islice(_objects(listed.get("manifests")), _MANIFESTS))


def _in_index(registry: Registry, digest: str, index: str) -> Iterator[list[Attached]]:
    """Attestations that BuildKit puts into the index beside the image."""
    listed = registry.document(index) or {}
    for entry in islice(_objects(listed.get("manifests")), _MANIFESTS):
        annotations = _texts(entry.get("annotations"))
        if annotations.get("vnd.docker.reference.digest") != digest:
            continue
        own = checked_digest(entry.get("digest"), f"{registry.name}: an attestation")
        document = registry.document(own)
        if document is not None:
            yield _documents(registry, digest, document, "", own)


def _documents(
    registry: Registry, subject: str, manifest: dict[str, Any], artifact_type: str, where: str
) -> list[Attached]:
    if manifest.get("mediaType") in INDEXES:
        return []
    kind = str(manifest.get("artifactType") or artifact_type or _object(manifest.get("config")).get("mediaType") or "")
    return [
        Attached(
            subject,
            str(layer.get("mediaType") or ""),
            kind,
            _texts(layer.get("annotations")),
            where,
            _reader(registry, layer.get("digest"), where),
        )
        for layer in islice(_objects(manifest.get("layers")), _LAYERS)
    ]


def _reader(registry: Registry, digest: object, where: str) -> Callable[[int], bytes]:
    def read(largest: int) -> bytes:
        return registry.blob(checked_digest(digest, f"{registry.name}: {where}"), largest)

    return read


def _tag(digest: str) -> str:
    return digest.replace(":", "-", 1)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(entries: object) -> Iterator[dict[str, Any]]:
    return (entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict))


def _texts(value: object) -> dict[str, str]:
    return {str(key): text for key, text in _object(value).items() if isinstance(text, str)}


def readable(
    entries: Sequence[Attached], wanted: Callable[[Attached], bool], largest: int
) -> Iterator[tuple[Attached, bytes | str]]:
    """Those that are wanted, with their bytes, or with the reason why they cannot be read."""
    for entry in entries:
        if wanted(entry):
            try:
                yield entry, entry.read(largest)
            except NotReadable as error:
                yield entry, str(error)
