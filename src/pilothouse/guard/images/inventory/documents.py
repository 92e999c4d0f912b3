"""Documents inside images and folders, decoded."""

from __future__ import annotations

import json
from typing import Any

from pilothouse.guard.images.model import NotReadable


def json_of(text: str) -> Any:
    """Raises NotReadable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"no JSON: {error}") from error
