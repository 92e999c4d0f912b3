"""Where the engine's processes look for the authorities of the world: one by one, when they are asked for.

Read as one file, some hundred and fifty certificates cost every process 4 MB and 40 ms at its start, though few of them
are ever asked for. OpenSSL finds the same ones by their hash in the directory that `ca-certificates` keeps (OpenSSL
documentation, `SSL_CTX_set_default_verify_paths`). Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

DIRECTORY: Final = "/etc/ssl/certs"
_FILE, _DIRECTORY = "SSL_CERT_FILE", "SSL_CERT_DIR"
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")


def by_directory(environment: Mapping[str, str], directory: str = DIRECTORY) -> dict[str, str]:
    """What to add to the environment of a process that uses OpenSSL: nothing where somebody has chosen already, or
    where the directory holds no hashed names."""
    if environment.get(_FILE) or environment.get(_DIRECTORY):
        return {}
    try:
        hashed = any(map(_HASHED.fullmatch, os.listdir(directory)))
    except OSError:
        return {}
    return {_FILE: "/dev/null", _DIRECTORY: directory} if hashed else {}
