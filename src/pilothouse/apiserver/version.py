"""`/version`."""

from __future__ import annotations

import platform
from functools import lru_cache

import orjson

from pilothouse import __version__

KUBERNETES = "1.35.0"


@lru_cache(maxsize=1)
def version_document() -> bytes:
    """What `kubectl version` prints of the server."""
    major, minor, _ = KUBERNETES.split(".")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return orjson.dumps(
        {
            "major": major,
            "minor": minor,
            "gitVersion": f"v{KUBERNETES}+pilothouse-{__version__}",
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": platform.python_implementation(),
            "platform": f"linux/{machine}",
        }
    )
