"""Images in containerd's content store: blobs by digest in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pilothouse.guard.images.inventory.limits import MIB
from pilothouse.guard.images.model import NotReadable
from pilothouse.guard.images.source.image import (
    INDEXES,
    Image,
    checked_digest,
    choose,
    image_of,
    json_document,
    small,
    verified,
)

PATH: Final = "io.containerd.content.v1.content/blobs"
"""Below containerd's root. Source: containerd, docs/content-flow.md."""


class ContentStore:
    """Reads blobs of a containerd whose root is given."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / PATH

    def open(self, digest: str, size: int = 0) -> Iterator[bytes]:
        """A blob's bytes. Raises NotReadable when it is not there."""
        name, _, value = checked_digest(digest, "a blob").partition(":")
        path = self._blobs / name / value
        if not path.is_file():
            raise NotReadable(f"containerd does not keep the blob {digest[:19]} of it any more")
        return _pieces(path)

    def image(self, name: str, digest: str, platform: str) -> Image:
        """The image of a manifest or index. Raises NotReadable."""
        for _ in range(3):
            pieces = verified(self.open(digest), digest, f"{name}: its manifest")
            document = json_document(small(pieces, f"{name}: its manifest"), f"{name}: its manifest")
            if document.get("mediaType") not in INDEXES and "manifests" not in document:
                return image_of(name, digest, document, self.open)
            digest = checked_digest(choose(name, document, platform).get("digest"), name)
        raise NotReadable(f"{name}: indexes nested too deeply")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece
