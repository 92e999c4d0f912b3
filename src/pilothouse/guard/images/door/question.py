"""What the door asks of an image."""

from __future__ import annotations

import msgspec


class Question(msgspec.Struct, frozen=True):
    """What is asked of an image. `keys` are PEM texts by name, empty when it need not be signed; `voices`, likewise,
    those whose VEX documents are heard."""

    image: str
    keys: dict[str, str] = {}
    scan: bool = True
    sbom: bool = False
    voices: dict[str, str] = {}
    login: tuple[str, str] | None = None
    """User and password for its registry, from the pod's pull secrets."""
