"""Why a node has no identity."""

from __future__ import annotations


class IdentityError(Exception):
    """The node cannot join or go on; the message says what is wrong and what to do."""
