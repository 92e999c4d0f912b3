"""An image as its manifest and configuration describe it. Pure.

Sources: OCI image specification 1.1 (manifest, index, config); Docker's manifest schema 2, which is the same but
for names.
"""

from __future__ import annotations

import hashlib
import platform as host
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.inventory.merge import ImageConfig
from pilothouse.guard.images.model import NOT_JSON, Layer, NotReadable
from pilothouse.guard.images.source.base import base_of, history_of

DOCUMENT_BYTES: Final = 4 * MIB
"""A manifest or configuration; registries refuse larger ones."""
_LAYERS: Final = 1024
INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_HASHES: Final[Mapping[str, Callable[[], Any]]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_HEX: Final[Mapping[str, int]] = {"sha256": 64, "sha512": 128}

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "i686": "386"}


def host_platform() -> str:
    """`linux/` and this machine's architecture as images name it."""
    return f"linux/{_MACHINES.get(host.machine(), host.machine())}"


Open = Callable[[str, int], Iterator[bytes]]
"""The bytes of a blob by digest and size (0 when unknown), not yet verified."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose layers can be read; `blob` gives a layer's verified bytes."""

    name: str
    digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    blob: Callable[[Layer], Iterator[bytes]]
    index: str = ""
    """Digest of the index it was chosen from, "" when it was not."""


def json_document(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises NotReadable."""
    try:
        tree = msgspec.json.decode(data)
    except NOT_JSON as error:
        raise NotReadable(f"{what} is no JSON: {error}") from error
    if not isinstance(tree, dict):
        raise NotReadable(f"{what} is no JSON object")
    return tree


def checked_digest(text: object, what: str) -> str:
    """A well-formed digest. Raises NotReadable."""
    if isinstance(text, str):
        name, _, value = text.partition(":")
        if _HEX.get(name) == len(value) and all(character in "0123456789abcdef" for character in value):
            return text
    raise NotReadable(f"{what} has no proper digest: {str(text)[:80]!r}")


def verified(pieces: Iterable[bytes], digest: str, what: str) -> Iterator[bytes]:
    """The same bytes; raises NotReadable at their end when they are not what the digest says."""
    name, _, wanted = checked_digest(digest, what).partition(":")
    count = _HASHES[name]()
    for piece in pieces:
        count.update(piece)
        yield piece
    if count.hexdigest() != wanted:
        raise NotReadable(f"{what} is not what its digest {digest} says: broken or tampered with")


def small(pieces: Iterable[bytes], what: str, largest: int = DOCUMENT_BYTES) -> bytes:
    """All of a small document. Raises NotReadable when it is larger than such documents are."""
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > largest:
            raise NotReadable(f"{what} is larger than {largest >> 20} MiB")
    return bytes(data)


def image_of(name: str, digest: str, manifest: dict[str, Any], open_blob: Open) -> Image:
    """The image of a manifest; reads its configuration. Raises NotReadable."""
    described = manifest.get("config")
    listed = manifest.get("layers")
    if not isinstance(described, dict) or not isinstance(listed, list):
        raise NotReadable(f"{name}: its manifest has no config or no layers (media type {manifest.get('mediaType')})")
    if len(listed) > _LAYERS:
        raise NotReadable(f"{name}: {len(listed)} layers; up to {_LAYERS} are read")
    config_digest = checked_digest(described.get("digest"), f"{name}: its config")
    pieces = verified(open_blob(config_digest, 0), config_digest, f"{name}: its config")
    config = json_document(small(pieces, f"{name}: its config"), f"{name}: its config")
    layers = layers_of(name, listed, config)

    def blob(layer: Layer) -> Iterator[bytes]:
        return verified(open_blob(layer.digest, layer.size), layer.digest, f"{name}: layer {layer.digest[:19]}")

    return Image(name, digest, config_of(config, manifest), layers, blob)


def layers_of(name: str, listed: list[Any], config: dict[str, Any]) -> tuple[Layer, ...]:
    """The layers with what the configuration says of each."""
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    diff_ids = diff_ids if isinstance(diff_ids, list) and len(diff_ids) == len(listed) else [""] * len(listed)
    steps = _steps(config, len(listed))
    found = []
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict):
            raise NotReadable(f"{name}: layer {number} of its manifest is no object")
        digest = checked_digest(entry.get("digest"), f"{name}: layer {number}")
        size = entry.get("size")
        media_type = str(entry.get("mediaType") or "")
        if "encrypted" in media_type:
            raise NotReadable(f"{name}: layer {number} is encrypted ({media_type})")
        size = size if isinstance(size, int) else 0
        found.append(Layer(digest, str(diff_ids[number]), media_type, size, *steps[number]))
    return tuple(found)


def _steps(config: dict[str, Any], count: int) -> list[tuple[str, str]]:
    """What made each layer, and when."""
    made = [
        (str(entry.get("created_by") or "")[:500], str(entry.get("created") or "")[:40])
        for entry in history_of(config)
        if not entry.get("empty_layer")
    ]
    return made if len(made) == count else [("", "")] * count


def config_of(config: dict[str, Any], manifest: Mapping[str, Any] | None = None) -> ImageConfig:
    """What is used of a configuration, and of its manifest where there is one."""
    run = config.get("config")
    run = run if isinstance(run, dict) else {}
    env = run.get("Env")
    return ImageConfig(
        str(run.get("User") or ""),
        tuple(str(entry) for entry in env) if isinstance(env, list) else (),
        str(config.get("created") or ""),
        str(config.get("architecture") or ""),
        base_of(manifest or {}, config),
    )


def choose(name: str, index: dict[str, Any], platform: str) -> dict[str, Any]:
    """The entry of an index for `os/architecture[/variant]`. Raises NotReadable naming those there are."""
    entries = index.get("manifests")
    listed = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    real = [entry for entry in listed if not _attestation(entry)]
    for entry in real:
        if _platform(entry) == platform or _platform(entry).rpartition("/")[0] == platform:
            return entry
    if len(real) == 1 and not _platform(real[0]):
        return real[0]
    there = ", ".join(sorted({_platform(entry) or "unnamed" for entry in real})) or "none"
    raise NotReadable(f"{name}: there is no image for {platform} in its index, only: {there} (see --platform)")


def _attestation(entry: dict[str, Any]) -> bool:
    annotations = entry.get("annotations")
    return isinstance(annotations, dict) and "vnd.docker.reference.type" in annotations


def _platform(entry: dict[str, Any]) -> str:
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        return ""
    parts = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part)
