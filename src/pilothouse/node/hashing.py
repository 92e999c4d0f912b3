"""The fingerprint of a container's specification: another one means that the container must be made anew."""

from __future__ import annotations

import hashlib

from pilothouse.kinds.core.pod import Container


def spec_hash(container: Container) -> str:
    """Covers what an update of a pod may change and a running container cannot follow: its image."""
    return hashlib.sha256(f"{container.name}\0{container.image}".encode()).hexdigest()[:16]
