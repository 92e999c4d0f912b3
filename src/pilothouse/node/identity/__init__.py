"""A node's certificates: got with a join token, renewed while running."""

from pilothouse.node.identity.errors import IdentityError
from pilothouse.node.identity.token import JoinToken, parse_token

__all__ = ["IdentityError", "JoinToken", "parse_token"]
