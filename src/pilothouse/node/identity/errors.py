"""Why a node has no identity."""

from __future__ import annotations


class IdentityError(Exception):
    """The node cannot join or go on; the message says what is wrong and what to do."""


def token_refused(server: str) -> IdentityError:
    """The server does not know the token."""
    return IdentityError(
        f"{server} does not accept the join token: it has expired, was deleted or is mistyped; make a new one there "
        "with `pilothouse node token`"
    )
