"""Alpine's package database, lib/apk/db/installed.

Source: Alpine wiki, "Apk spec"; `F:` a folder, `R:` a file in it, `o:` the origin package.
"""

from __future__ import annotations

from pilothouse.guard.images.inventory.dpkg import owned
from pilothouse.guard.images.model import Package


def read_installed(text: str, path: str) -> tuple[list[Package], bytes]:
    """The packages, and digests of what they own."""
    found: list[Package] = []
    paths: list[str] = []
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        folder = ""
        for line in block.split("\n"):
            key, value = line[:2], line[2:].strip()
            if key == "F:":
                folder = value
            elif key == "R:":
                paths.append(f"{folder}/{value}" if folder else value)
            elif key in ("P:", "V:", "A:", "o:"):
                fields.setdefault(key, value)
        if "P:" in fields and "V:" in fields:
            name, version = fields["P:"], fields["V:"]
            origin = fields.get("o:") or name
            found.append(Package("apk", name, version, origin, version, fields.get("A:", ""), path))
    return found, owned(paths)
