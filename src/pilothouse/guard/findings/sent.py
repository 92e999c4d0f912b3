"""What a receiver of findings was told. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Sent(NamedTuple):
    """A finding at a receiver: its own name of it ("" while it is not known whether the first telling arrived), whether
    it is open there, and a digest of the words."""

    external: str
    open: bool
    words: str
