"""The text of a join token: which authority to trust, and the secret that lets a machine in."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"ph1\.([0-9a-f]{64})\.([a-z0-9]{6})\.([a-z0-9]{16})")


class JoinToken(NamedTuple):
    """`authority` is the SHA-256 (hex) of the cluster's CA certificate; `bearer` authenticates the request to join."""

    authority: str
    bearer: str


def parse_token(text: str) -> JoinToken:
    """Raises ValueError when the text is no join token."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            "that is not a join token (ph1.….….…): copy it whole, as `pilothouse node token` on the first machine "
            "printed it"
        )
    return JoinToken(match[1], f"{match[2]}.{match[3]}")
