"""What an image was built on: as its maker says, else as its history looks. Pure.

Sources: OCI image specification 1.1, "Pre-Defined Annotation Keys" (`org.opencontainers.image.base.*`) and "Image
Configuration" (history).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pilothouse.guard.images.model import BaseImage

_NAME: Final = "org.opencontainers.image.base.name"
_DIGEST: Final = "org.opencontainers.image.base.digest"
_ENDS: Final = re.compile(r"(?:^|#\(nop\)\s+)(?:CMD|ENTRYPOINT)\b")
"""What most images end with, so that where it stands before a layer one image ends and the next begins."""


def base_of(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> BaseImage | None:
    """The base image, or None when nothing tells of one."""
    run = config.get("config")
    labels = run.get("Labels") if isinstance(run, dict) else None
    said: dict[str, str] = {}
    for source in (labels, manifest.get("annotations")):
        for key, value in (source if isinstance(source, dict) else {}).items():
            if key in (_NAME, _DIGEST) and isinstance(value, str):
                said[key] = value[:500]
    layers = _layers(history_of(config))
    return BaseImage(said.get(_NAME, ""), said.get(_DIGEST, ""), layers) if said or layers else None


def history_of(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps an image was built by."""
    history = config.get("history")
    return [entry for entry in (history if isinstance(history, list) else ()) if isinstance(entry, dict)]


def _layers(history: Sequence[Mapping[str, Any]]) -> int:
    """Number of layers below the last image's end that another layer follows; 0 when there is none."""
    layers = found = 0
    ended = 0
    for entry in history:
        if not entry.get("empty_layer"):
            found = ended or found
            layers += 1
        elif _ENDS.search(str(entry.get("created_by") or "")):
            ended = layers
    return found
