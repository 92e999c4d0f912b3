"""Work on volumes that goes on by itself, which is no failure for a while."""

from __future__ import annotations

QUIET_SECONDS = 30.0
"""So long it is not told; attaching a disk of a cloud takes some seconds, as a rule."""


class Unfinished(OSError):
    """Whoever wants it comes back: the pod is woken when it is done. `quiet` as long as there is nothing to tell."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.quiet = seconds < QUIET_SECONDS
