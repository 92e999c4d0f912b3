"""What a child process tells its supervisor: lines of name and text on an inherited pipe."""

from __future__ import annotations

import contextlib
import os

VARIABLE = "PILOTHOUSE_NOTIFY_FD"


def notify(name: str, text: str) -> None:
    """Sends one line as the process `name`; does nothing without a supervisor, or when it is gone."""
    descriptor = os.environ.get(VARIABLE)
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        os.write(int(descriptor), f"{name} {text}".replace("\n", " ").encode()[:1000] + b"\n")
